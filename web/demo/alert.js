/** The region for what went wrong: in plain words first, the technical text folded away below. */

import { byId, element } from './dom.js';

const region = byId('alert', HTMLElement);

/**
 * Show one problem, in the place of any before it.
 *
 * @param {string} title
 * @param {unknown} error
 */
export function showAlert(title, error) {
  const { summary, details } = explain(error);
  const close = element('button', { type: 'button', class: 'quiet' }, 'Dismiss');
  close.addEventListener('click', clearAlert);
  region.replaceChildren(
    element('div', { class: 'heading' }, element('h2', {}, title), close),
    element('p', { class: 'message' }, summary),
    ...(details ? [element('pre', { tabindex: '0', 'aria-label': 'Technical details' }, details)] : []),
  );
}

export function clearAlert() {
  region.replaceChildren();
}

/**
 * Part an error's text: what happened, and the traceback below it if there is one.
 *
 * @param {unknown} error
 */
function explain(error) {
  const text = messageOf(error).trim();
  const start = text.indexOf('Traceback (most recent call last)');
  if (start < 0) return { summary: text, details: '' };
  const traceback = text.slice(start);
  return { summary: text.slice(0, start).trim() || (traceback.split('\n').at(-1) ?? ''), details: traceback };
}

/** @param {unknown} error */
function messageOf(error) {
  if (typeof error === 'string') return error;
  if (typeof error === 'object' && error && 'message' in error) return String(error.message);
  return String(error);
}
