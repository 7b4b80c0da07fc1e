/**
 * Answer this worker's one message with what a function makes of it.
 * @param {(params: any) => Promise<unknown>} measure
 */
export function answer(measure) {
  addEventListener('message', async ({ data }) => {
    try {
      postMessage({ result: await measure(data) });
    } catch (error) {
      postMessage({ error: String(error) });
    }
  });
}
