/** The page with `@coji/durably` on SQLocal: the same measures of the same jobs. */
import { createDurably } from '@coji/durably';
import { SQLocalKysely } from 'sqlocal/kysely';
import { Measures } from '../site/measures.js';
import { jobs } from './jobs.js';

const { database, ...options } = JSON.parse(new URLSearchParams(location.search).get('options'));
const { dialect } = new SQLocalKysely(`${database}.sqlite3`);

window.durably = createDurably({ dialect, jobs, ...options });
window.measures = new Measures(window.durably);
window.opened = window.durably.init();
