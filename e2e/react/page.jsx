/**
 * A page with the hooks of `@coji/durably-react/spa` as they are, over our client. Knows React and the client's names.
 *
 * In the address: `provide` is what the hooks get: the `client` at once, a promise of it that waits until it is `ready`,
 * or one that waits until it has `leased` a run, too, as on a page with more to do first; with `effect` an effect creates
 * the client, and stops it when its component is unmounted. `run` is the run that the hooks follow from the start; without
 * it `useJob` looks for an active run.
 */
import { DurablyProvider, useJob, useJobLogs, useJobRun, useRuns } from '@coji/durably-react/spa';
import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { createDurably } from './durably/page/index.js';

const count = { name: 'count', run() {} };
const unstorable = { name: 'unstorable', run() {} };
const parameters = new URLSearchParams(location.search);

const create = () => (window.durably = createDurably({ database: 'react', jobs: './jobs.py' })); // for the tests, too

createRoot(document.getElementById('root')).render(
  <StrictMode>{parameters.get('provide') === 'effect' ? <Mounting /> : <Provided client={provided()} />}</StrictMode>,
);

/** The client, or a promise of it, as the address asks for. */
function provided() {
  const durably = create();
  const leased = new Promise((resolve) => durably.on('run:leased', resolve));
  return {
    client: () => durably,
    ready: () => durably.init().then(() => durably),
    leased: () => leased.then(() => durably),
  }[parameters.get('provide')]();
}

function Provided({ client }) {
  return (
    <DurablyProvider durably={client} fallback={<p id="boot">Starting</p>}>
      <Page />
    </DurablyProvider>
  );
}

/** A provider that can be unmounted and mounted again. */
function Mounting() {
  const [mounted, setMounted] = useState(0);
  return (
    <section id="mounting">
      <button onClick={() => setMounted(mounted + 1)}>Mount again</button>
      <Owner key={mounted} />
    </section>
  );
}

function Owner() {
  const [client, setClient] = useState(null);
  useEffect(() => {
    const own = create();
    setClient(own);
    return () => void own.stop();
  }, []);
  return client && <Provided client={client} />;
}

function Page() {
  const [runId, setRunId] = useState(parameters.get('run'));
  const list = useRuns(count, { pageSize: 2 }); // here, since useJob looks for an active run when it renders again
  return (
    <>
      <Job onTriggered={setRunId} />
      <Failing />
      <Latest />
      <Run runId={runId} />
      <Logs runId={runId} />
      <Runs list={list} />
      <Ended />
    </>
  );
}

/** What a test asks for, and what became of it. */
function Job({ onTriggered }) {
  const initialRunId = parameters.get('run') ?? undefined;
  const job = useJob(count, { initialRunId, followLatest: false });
  const [label, setLabel] = useState('');
  const [steps, setSteps] = useState('2');
  const [told, setTold] = useState('');
  const input = () => ({ label, steps: Number(steps) });
  const tell = (error) => setTold(`${error.name}: ${error.message}`);
  return (
    <section id="job">
      <input name="label" value={label} onChange={(event) => setLabel(event.target.value)} />
      <input name="steps" value={steps} onChange={(event) => setSteps(event.target.value)} />
      <button onClick={() => job.trigger(input()).then(({ runId }) => onTriggered(runId), tell)}>Trigger</button>
      <button onClick={() => job.triggerAndWait(input()).then(({ output }) => setTold(JSON.stringify(output)), tell)}>Wait</button>
      <button onClick={job.reset}>Reset</button>
      <p className="told">{told}</p>
      <p className="run">{job.currentRunId}</p>
      <Subscription {...job} />
    </section>
  );
}

/** A job whose step fails. */
function Failing() {
  const job = useJob(unstorable, { autoResume: false });
  return (
    <section id="failing">
      <button onClick={() => job.trigger()}>Trigger</button>
      <Subscription {...job} />
    </section>
  );
}

/** Whatever run of the job started last. */
function Latest() {
  const job = useJob(count);
  return (
    <section id="latest">
      <p className="run">{job.currentRunId}</p>
      <Subscription {...job} />
    </section>
  );
}

function Run({ runId }) {
  return (
    <section id="run">
      <Subscription {...useJobRun({ runId })} />
    </section>
  );
}

function Logs({ runId }) {
  const { logs, clearLogs } = useJobLogs({ runId, maxLogs: 2 });
  return (
    <section id="logs">
      <Lines logs={logs} />
      <button onClick={clearLogs}>Clear</button>
    </section>
  );
}

/** One job's runs, two to a page. */
function Runs({ list }) {
  return (
    <section id="runs">
      <Rows runs={list.runs} />
      <p className="page">{`${list.page}${list.hasMore ? ' more' : ''}`}</p>
      <button onClick={list.prevPage}>Previous</button>
      <button onClick={list.nextPage}>Next</button>
      <button onClick={() => list.goToPage(0)}>First</button>
    </section>
  );
}

/** The ended runs of several jobs. */
function Ended() {
  const { runs } = useRuns({ jobName: ['count', 'unstorable'], status: ['completed', 'failed', 'cancelled'] });
  return (
    <section id="ended">
      <Rows runs={runs} />
    </section>
  );
}

function Rows({ runs }) {
  return (
    <ul>
      {runs.map(({ id, jobName, input, status, progress }) => (
        <li key={id}>{[jobName, input?.label, status, progress && `${progress.current}/${progress.total}`].filter(Boolean).join(' ')}</li>
      ))}
    </ul>
  );
}

function Subscription({ status, progress, output, error, logs, isActive, isTerminal }) {
  return (
    <>
      <p className="status">{status}</p>
      <p className="phase">{[isActive && 'active', isTerminal && 'terminal'].filter(Boolean).join(' ')}</p>
      <p className="progress">{progress && `${progress.current}/${progress.total} ${progress.message}`}</p>
      <p className="output">{output && JSON.stringify(output)}</p>
      <p className="error">{error}</p>
      <Lines logs={logs} />
    </>
  );
}

function Lines({ logs }) {
  return (
    <ol>
      {logs.map(({ id, level, stepName, message }) => (
        <li key={id}>{`${level} ${stepName ?? '-'} ${message}`}</li>
      ))}
    </ol>
  );
}
