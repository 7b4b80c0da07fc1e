/** The engine's worker, unchanged, in a global scope whose storage, network and messages pass the points of a kill. */
import './points-hooks.js'; // first: the worker finds them in place
import './durably/worker/main.js';
