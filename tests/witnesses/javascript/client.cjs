// Microsoft's JavaScript client of Graph, driven by tests/witnesses/test_graph_client_js.py: one JSON order on stdin, one
// JSON answer on stdout. It is pointed at the simulator as for any other cloud: by its base URL and its custom hosts.
"use strict";

const { Client, OneDriveLargeFileUploadTask, PageIterator } = require("@microsoft/microsoft-graph-client");

/** Returns what a call was refused with. */
const refusal = (error) => ({ refused: { status: error.statusCode ?? null, code: error.code ?? error.name } });

const ORDERS = {
  /** One call: method, path, body, headers, query options. */
  async call(client, { method, path, body, headers = {}, query = {} }) {
    const request = client.api(path).headers(headers).query(query);
    return { answer: (await request[method.toLowerCase()](body)) ?? null };
  },

  /** Every entry of a collection, page by page. */
  async pages(client, { path, query = {} }) {
    const names = [];
    const first = await client.api(path).query(query).get();
    const iterator = new PageIterator(client, first, (entry) => names.push(entry.name ?? null) > 0);
    await iterator.iterate();
    return { names, deltaLink: iterator.getDeltaLink() ?? null };
  },

  /** A large file. After each refusal the task is resumed, up to so many times; then it is committed, if that is asked. */
  async upload(client, { content, fileName, path, rangeSize, conflictBehavior, resumes = 0, commitAt }) {
    const bytes = new Uint8Array(Buffer.from(content, "base64"));
    const progress = [];
    const refusals = [];
    const task = await OneDriveLargeFileUploadTask.create(client, bytes, {
      fileName,
      path,
      rangeSize,
      conflictBehavior,
      uploadEventHandlers: { progress: (range) => progress.push([range.minValue, range.maxValue]) },
    });
    const state = () => ({ progress, refusals });
    let go = () => task.upload();
    for (;;) {
      try {
        return { ...state(), item: (await go()).responseBody };
      } catch (error) {
        refusals.push(refusal(error).refused);
        if (refusals.length > resumes) {
          return commitAt ? { ...state(), item: await task.commit(commitAt) } : state();
        }
        go = () => task.resume();
      }
    }
  },

  /** A large file of which nothing is sent, because the person changes their mind. */
  async cancel(client, { fileName, path }) {
    const task = await OneDriveLargeFileUploadTask.create(client, new Uint8Array(10), { fileName, path });
    const before = await task.getStatus();
    const answer = await task.cancel();
    return { before: before.nextExpectedRanges, status: answer.status };
  },
};

async function main() {
  let text = "";
  for await (const block of process.stdin) text += block;
  const { baseUrl, host, token, order, ...rest } = JSON.parse(text);
  const client = Client.initWithMiddleware({
    baseUrl,
    defaultVersion: "v1.0",
    customHosts: new Set([host]),
    authProvider: { getAccessToken: async () => token },
  });
  try {
    return await ORDERS[order](client, rest);
  } catch (error) {
    return refusal(error);
  }
}

main().then((answer) => process.stdout.write(JSON.stringify(answer)));
