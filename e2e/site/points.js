/**
 * The points of a run's way at which a test kills the browser, in the page and in the engine's worker.
 *
 * The address says which point this round is about, and at which pass: `?round=7&point=put&after=2`.
 */
export const round = new URLSearchParams(location.search);
let left = Number(round.get('after'));

/** Go on, or, at the round's point, tell the test server and never go on. */
export function pass(point) {
  if (point !== round.get('point') || left-- > 0) return;
  journal(`reached/${round.get('round')}`);
  send('GET', `/gate/kill/${round.get('round')}`); // closed until the browser is dead
  for (;;);
}

/** Tell the test server, before anything else can happen in this thread. */
export function journal(entry) {
  send('POST', '/journal', entry);
}

/** Send a request. Firefox fails a worker's as soon as its page begins to be left: the worker then never goes on. */
function send(method, path, body) {
  const request = new XMLHttpRequest();
  request.open(method, path, false);
  try {
    request.send(body);
  } catch (error) {
    if ('document' in globalThis) throw error;
    for (;;);
  }
}
