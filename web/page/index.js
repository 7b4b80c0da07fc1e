/**
 * What a page imports.
 *
 *     import { createDurably } from './durably/page/index.js';
 */
export { createDurably, Durably } from './client.js';
export { triggerItem } from './handle.js';
export { EVENT_TYPES } from '../shared/events.js';
