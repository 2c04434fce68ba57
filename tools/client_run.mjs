// What the public clients of the vendor's API do, call by call, in plain Node: the habits of a Node
// client (JSON, a fresh signature for each call, gives up on any status but 2xx), of workflow nodes
// (one signature for a run and all of its polls, "" for what was left empty, the first output's
// address is the result) and of a mobile SDK (multipart runs, uploads, the websocket). Prints a
// table, and fails if anything is not as those clients need it.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';

const { SERVED_URL, SERVED_KEY, SERVED_SIGNED_KEY, SERVED_SIGNED_SECRET } = process.env;
const BASE = `${SERVED_URL}/v1`;
const PRO = 'black-forest-labs/flux-pro-1.1';
const KONTEXT = 'black-forest-labs/flux-kontext-max';
const FINAL = ['task_postprocess_end', 'task_cancel'];
const STATES = [
  'task_queue', 'task_accept', 'task_preprocess_start', 'task_preprocess_end', 'task_assign', 'task_start',
  'task_output', 'task_output_full', 'task_end', 'task_postprocess_start', 'task_postprocess_end',
];
const POLL_MS = 200;
const PATIENCE_MS = 300_000;

const keyOnly = () => ({ 'x-api-key': SERVED_KEY });
function signed(nonce = String(Date.now())) {
  const signature = createHmac('sha256', SERVED_SIGNED_KEY).update(SERVED_SIGNED_SECRET + nonce).digest('hex');
  return { 'x-api-key': SERVED_SIGNED_KEY, 'x-nonce': nonce, 'x-signature': signature };
}

/** A call as the Node client makes it: anything but 2xx or JSON ends it. */
async function call(path, body, headers = signed()) {
  const response = await fetch(`${BASE}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: status ${response.status}: ${text}`);
  const answer = JSON.parse(text);
  assert.equal(typeof answer.result, 'boolean', `${path}: no result in ${text}`);
  assert.ok(Array.isArray(answer.errors), `${path}: no errors in ${text}`);
  return answer;
}

async function done(path, body, headers) {
  const answer = await call(path, body, headers);
  assert.equal(answer.result, true, `${path}: ${JSON.stringify(answer)}`);
  assert.deepEqual(answer.errors, []);
  return answer;
}

async function refused(path, body, [code, message], headers) {
  const answer = await call(path, body, headers);
  assert.equal(answer.result, false, `${path}: ${JSON.stringify(answer)}`);
  assert.deepEqual(answer.errors, [{ code, message }]);
}

async function form(path, fields, headers = signed()) {
  const parts = new FormData();
  for (const [name, value, fileName] of fields) {
    if (fileName) parts.append(name, value, fileName);
    else parts.append(name, value);
  }
  const response = await fetch(`${BASE}${path}`, { method: 'POST', headers, body: parts });
  const answer = await response.json();
  assert.equal(answer.result, true, `${path}: ${JSON.stringify(answer)}`);
  return answer;
}

/** Asks until the task is final, with the same headers each time. */
async function ended(task, headers = signed()) {
  const deadline = Date.now() + PATIENCE_MS;
  let seen = -1;
  while (Date.now() < deadline) {
    const detail = await done('/Task/Detail', { tasktoken: task.socketaccesstoken }, headers);
    const { status } = detail.tasklist[0];
    if (FINAL.includes(status)) return detail.tasklist[0];
    const place = STATES.indexOf(status);
    assert.ok(place >= seen, `went back to ${status}`);
    seen = place;
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
  throw new Error(`task ${task.taskid} did not end`);
}

const DIGITS = /^\d+$/;
/** A task that went well, with all that clients read of it. */
function isSuccess(task, extension) {
  assert.equal(task.status, 'task_postprocess_end');
  assert.deepEqual([task.pexit, task.debugerror, task.debugoutput], ['0', '', '']);
  assert.equal(task.outputs.length, 1);
  const [output] = task.outputs;
  assert.equal(output.name, `0.${extension}`);
  assert.equal(output.contenttype, `image/${extension}`);
  for (const value of [task.id, task.size, task.createtime, task.starttime, task.endtime, output.size, output.addedtime]) {
    assert.match(value, DIGITS);
  }
  assert.match(output.url, /^https?:\/\//);
  assert.match(task.elapsedseconds, /^\d+\.\d{4}$/);
  const times = ['createtime', 'accepttime', 'preprocessstarttime', 'preprocessendtime', 'starttime', 'endtime', 'postprocessendtime'];
  for (const [place, name] of times.entries()) {
    if (place) assert.ok(Number(task[name]) >= Number(task[times[place - 1]]), `${name} runs backwards`);
  }
  return output;
}

async function picture(output) {
  const response = await fetch(output.url);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), output.contenttype);
  const bytes = Buffer.from(await response.arrayBuffer());
  assert.equal(String(bytes.length), output.size);
  const start = output.contenttype === 'image/png' ? '89504e47' : 'ffd8ff';
  assert.ok(bytes.toString('hex', 0, 4).startsWith(start), 'not the picture that it says it is');
  return bytes;
}

/** All messages about a task until its end, as the mobile SDK and browsers watch them. */
function watched(token) {
  const socket = new WebSocket(BASE.replace(/^http/, 'ws'));
  return new Promise((resolve, reject) => {
    const messages = [];
    const timer = setTimeout(() => reject(new Error('the socket fell silent')), PATIENCE_MS);
    timer.unref();
    socket.onopen = () => socket.send(JSON.stringify({ type: 'task_info', tasktoken: token }));
    socket.onerror = (event) => reject(new Error(`socket: ${event.message ?? 'failed'}`));
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === 'connected') return;
      messages.push(message);
      if (FINAL.includes(message.type) || message.type === 'error') {
        clearTimeout(timer);
        socket.close();
        resolve(messages);
      }
    };
  });
}

const state = {};
const paths = (await (await fetch(`${SERVED_URL}/openapi.json`)).json()).paths;
/** Why a case cannot be tried yet. */
const lacking = (name) => (name.includes('watches') || name.includes('comes late')) && !paths['/v1'] && 'no websocket';
const cases = [
  ['Node client: finds the tools', async () => {
    const body = {
      start: '0', limit: '20', search: '', categories: [], sort: 'relevance', hideworkflows: true, summary: true,
    };
    const list = await done('/Tool/List', body);
    assert.equal(typeof list.total, 'number');
    const names = list.tool.map((tool) => `${tool.cleanslugowner}/${tool.cleanslugproject}`);
    assert.deepEqual(names.sort(), [KONTEXT, PRO].sort());
    const explored = await done('/Tool/Explore', {});
    assert.ok(explored.explore.length && explored.explore[0].tools.length);
  }],
  ['Node client: builds a form from a tool', async () => {
    const detail = await done('/Tool/Detail', { slugowner: 'black-forest-labs', slugproject: 'flux-pro-1.1' });
    const [tool] = detail.tool;
    const items = tool.parameters.flatMap((group) => group.items);
    for (const item of items) {
      for (const name of ['id', 'type', 'label', 'required', 'default', 'options', 'note', 'placeholder']) {
        assert.ok(name in item, `${item.id} has no ${name}`);
      }
    }
    assert.ok(items.find((item) => item.id === 'prompt').required);
    const [price] = JSON.parse(tool.dynamicprice);
    assert.equal(typeof price.price, 'number');
    state.form = items;
  }],
  ['Node client: runs flux-pro-1.1 from that form and waits', async () => {
    const parameters = Object.fromEntries(state.form.map((item) => [item.id, item.default]));
    parameters.prompt = 'a red circle left of a blue square on a white background';
    parameters.seed = 42;
    parameters.safetyTolerance = 2;
    parameters.promptUpsampling = false;
    parameters.aspectRatio = '1:1';
    const task = await done(`/Run/${PRO}`, parameters);
    assert.match(task.taskid, DIGITS);
    assert.match(task.socketaccesstoken, /^[0-9A-Za-z]{30}$/);
    const detail = await done('/Task/Detail', { taskid: task.taskid });
    assert.equal(detail.tasklist[0].socketaccesstoken, task.socketaccesstoken);
    state.pro = await ended(task);
    state.proBytes = await picture(isSuccess(state.pro, 'png'));
    assert.equal(state.pro.parameters.seed, '42');
  }],
  ['workflow node: one signature, "" for what is empty', async () => {
    const headers = signed('1734513807');
    const task = await done(`/Run/${KONTEXT}`, {
      inputImageUrl: '', prompt: 'a green circle', promptUpsampling: 'false', safetyTolerance: '2', aspectRatio: '',
      seed: '', outputFormat: 'jpeg',
    }, headers);
    const ending = await ended(task, headers);
    await picture(isSuccess(ending, 'jpeg'));
    assert.match(ending.parameters.seed, DIGITS);
  }],
  ['workflow node: a key-only project, stray headers and all', async () => {
    const headers = { ...keyOnly(), 'x-nonce': '1', 'x-signature': '' };
    const task = await done(`/Run/${PRO}`, { prompt: 'a blue square', seed: '42' }, headers);
    await picture(isSuccess(await ended(task, headers), 'png'));
  }],
  ['workflow node: credentials are checked by their status', async () => {
    for (const headers of [{}, { 'x-api-key': 'nobody' }, { ...signed(), 'x-signature': '00' }]) {
      const response = await fetch(`${BASE}/Task/Detail`, { method: 'POST', headers, body: '{}' });
      assert.equal(response.status, 401);
      assert.equal((await response.json()).result, false);
    }
    await refused('/Task/Detail', { tasktoken: 'nobody' }, [1, 'There is no task yet.']);
  }],
  ['mobile SDK: uploads a picture and edits it by its address', async () => {
    const headers = signed();
    const folder = await done('/File/FolderCreate', { name: 'inputs' }, headers);
    const file = new Blob([state.proBytes], { type: 'application/octet-stream' });
    const upload = await form('/File/Upload', [['file', file, 'circle.png'], ['folderid', folder.list[0].id]], headers);
    const [uploaded] = upload.list;
    assert.equal(uploaded.contenttype, 'image/png');
    assert.equal(uploaded.size, String(state.proBytes.length));
    assert.equal(uploaded.parentid, folder.list[0].id);
    const task = await done(`/Run/${KONTEXT}`, {
      inputImage: [uploaded.url], prompt: 'make the circle green', outputFormat: ['png'], seed: 7,
    }, headers);
    await picture(isSuccess(await ended(task, headers), 'png'));
  }],
  ['mobile SDK: edits an upload by its name, and one sent along', async () => {
    const fields = [['prompt', 'make the circle green'], ['seed', '7'], ['outputFormat', 'jpeg']];
    const named = await form(`/Run/${KONTEXT}`, [...fields, ['inputImageUrl', 'circle.png']]);
    const file = new Blob([state.proBytes], { type: 'image/png' });
    const sent = await form(`/Run/${KONTEXT}`, [...fields, ['inputImage', file, 'c.png'], ['inputImageUrl', '']]);
    const [first, second] = await Promise.all([ended(named), ended(sent)]);
    const bytes = [await picture(isSuccess(first, 'jpeg')), await picture(isSuccess(second, 'jpeg'))];
    assert.ok(bytes[0].equals(bytes[1]), 'the same picture, prompt and seed gave other bytes');
  }],
  ['mobile SDK: watches a run to its end', async () => {
    const task = await done(`/Run/${PRO}`, { prompt: 'a red circle', seed: 42 });
    const messages = await watched(task.socketaccesstoken);
    const types = messages.map((message) => message.type);
    for (const message of messages) {
      assert.equal(message.result, true);
      assert.equal(message.tasktoken, task.socketaccesstoken);
      assert.equal(message.id, task.taskid);
    }
    const places = types.filter((type) => STATES.includes(type)).map((type) => STATES.indexOf(type));
    assert.deepEqual(places, [...places].sort((left, right) => left - right), types.join(' '));
    const last = messages.at(-1);
    assert.equal(last.type, 'task_postprocess_end');
    await picture(last.message[0]);
    const progress = messages.filter((message) => message.message?.type === 'progressGenerate');
    for (const { message } of progress) {
      assert.match(message.stepCurrent, DIGITS);
      assert.match(message.percentage, DIGITS);
    }
    // Clients ask the moment the end is told: the row is there before the event.
    isSuccess((await done('/Task/Detail', { tasktoken: task.socketaccesstoken })).tasklist[0], 'png');
    state.late = task;
  }],
  ['mobile SDK: comes late, and comes without a token', async () => {
    const [only, ...more] = await watched(state.late.socketaccesstoken);
    assert.equal(only.type, 'task_postprocess_end');
    assert.equal(more.length, 0);
    const [error] = await watched(undefined);
    assert.deepEqual([error.type, error.message, error.result], ['error', 'tasktoken-required', false]);
  }],
  ['Node client: lists its tasks, newest first', async () => {
    const list = await done('/Task/List', { type: 'model', sort: 'id', order: 'DESC', start: '0', limit: '2' });
    assert.match(list.total, DIGITS);
    assert.equal(list.tasklist.length, 2);
    assert.ok(Number(list.tasklist[0].id) > Number(list.tasklist[1].id));
  }],
  ['Node client: cancels, kills and deletes', async () => {
    const prompts = ['one', 'two', 'three', 'four'];
    const tasks = [];
    for (const prompt of prompts) tasks.push(await done(`/Run/${PRO}`, { prompt }));
    const last = tasks.at(-1).socketaccesstoken;
    const cancelled = await done('/Task/Cancel', { tasktoken: last });
    assert.equal(cancelled.tasklist[0].status, 'task_cancel');
    await refused('/Task/Cancel', { tasktoken: last }, [1, 'Task is not in a cancellable state.']);
    const killed = await call('/Task/Kill', { socketaccesstoken: tasks[0].socketaccesstoken });
    const first = await ended(tasks[0]);
    if (killed.result) assert.deepEqual([first.status, first.outputs], ['task_cancel', []]);
    await refused('/Task/InputOutputDelete', { tasktoken: 'nobody' }, [1, 'task-not-exist']);
    const second = await ended(tasks[1]);
    const output = isSuccess(second, 'png');
    for (let again = 0; again < 2; again += 1) await done('/Task/InputOutputDelete', { taskid: second.id });
    const after = (await done('/Task/Detail', { taskid: second.id })).tasklist[0];
    assert.deepEqual(after.outputs, []);
    assert.equal((await fetch(output.url)).status, 404);
    await ended(tasks[2]);
  }],
  ['any client: what is wrong is said in words, with status 200', async () => {
    await refused(`/Run/${PRO}`, {}, [0, 'Request parameter [prompt] required']);
    await refused(`/Run/${PRO}`, { prompt: 'x', seed: 'abc' }, [0, 'Request parameter [seed] must be integer or float']);
    await refused(`/Run/${PRO}`, { prompt: 'x', safetyTolerance: '7' }, [0, 'Request parameter [safetyTolerance] must be between 0 and 6']);
    await refused('/Run/nobody/nothing', { prompt: 'x' }, [1, 'slug-owner-project-not-exist']);
    await refused('/Task/Detail', {}, [0, 'taskid or socketaccesstoken is required']);
    await refused(`/Run/${PRO}`, '{"prompt":', [0, 'Request parameters are invalid.']);
    await refused('/File/Upload', {}, [0, 'Request files [file] required']);
  }],
  ['any client: a run that fails says why, and has no outputs', async () => {
    const task = await done(`/Run/${KONTEXT}`, { prompt: 'x', inputImageUrl: 'no-such-file.png' });
    const ending = await ended(task);
    assert.equal(ending.status, 'task_postprocess_end');
    assert.ok(ending.pexit !== '0' && ending.pexit !== '', `pexit ${ending.pexit}`);
    assert.deepEqual([ending.outputs, ending.totalcost], [[], '0']);
    assert.ok(ending.debugerror.length > 0);
  }],
];

let failures = 0;
let skipped = 0;
for (const [name, run] of cases) {
  const began = Date.now();
  let outcome = 'ok';
  try {
    const reason = lacking(name);
    if (reason) {
      skipped += 1;
      outcome = `SKIPPED: ${reason}`;
    }
    if (!reason) await run();
  } catch (error) {
    failures += 1;
    outcome = `FAILED: ${error.message}`;
  }
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  console.log(`${name.padEnd(62)} ${seconds.padStart(6)} s  ${outcome}`);
}
console.log(`${cases.length - failures - skipped} passed, ${skipped} skipped, ${failures} failed`);
process.exit(failures ? 1 : 0);
