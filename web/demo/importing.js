/** The panel that starts an import: the sample, a chosen file or a dropped one, and the pace. */

import { byId } from './dom.js';

const SAMPLE = 'airports.csv';
const LARGEST_MB = 20;

const sample = byId('import-sample', HTMLButtonElement);
const input = byId('file', HTMLInputElement);
const zone = byId('drop', HTMLLabelElement);
const pace = byId('pace', HTMLSelectElement);
const hint = byId('hint', HTMLElement);
const usualHint = hint.textContent;

/**
 * Call back with every file that the person gives.
 *
 * @param {(filename: string, content: Blob, pauseMs: number) => void} onFile
 * @param {(title: string, error: unknown) => void} onError
 */
export function listenForFiles(onFile, onError) {
  /** @param {File | undefined} file */
  const give = (file) => {
    if (!file) return;
    if (file.size > LARGEST_MB * 1e6) {
      onError('This file is too large', `${file.name} has more than ${LARGEST_MB} MB, which is the most that this demo takes.`);
    } else {
      onFile(file.name, file, Number(pace.value));
    }
  };
  sample.addEventListener('click', () => {
    fetchSample().then(
      (content) => onFile(SAMPLE, content, Number(pace.value)),
      (error) => onError('The sample could not be loaded', error),
    );
  });
  input.addEventListener('change', () => {
    give(input.files?.[0]);
    input.value = ''; // so that the same file can be chosen again
  });
  listenForDrops(give);
}

/**
 * Say that an import waits for the engine, or that none does.
 *
 * @param {boolean} waiting
 */
export function showWaiting(waiting) {
  hint.textContent = waiting ? 'Your import waits for the engine. It starts as soon as that is ready.' : usualHint;
}

/** @param {boolean} enabled */
export function enableImports(enabled) {
  sample.disabled = !enabled;
  input.disabled = !enabled;
}

/** @returns {Promise<Blob>} */
async function fetchSample() {
  const response = await fetch(`./${SAMPLE}`);
  if (!response.ok) throw new Error(`${SAMPLE}: the server answered ${response.status}.`);
  return response.blob();
}

/** @param {(file: File | undefined) => void} give */
function listenForDrops(give) {
  // Without this, a file dropped beside the zone would replace the page.
  for (const type of ['dragover', 'drop']) addEventListener(type, (event) => event.preventDefault());
  zone.addEventListener('dragover', () => zone.classList.add('over'));
  zone.addEventListener('dragleave', () => zone.classList.remove('over'));
  zone.addEventListener('drop', (event) => {
    zone.classList.remove('over');
    if (!input.disabled) give(event.dataTransfer?.files[0]);
  });
}
