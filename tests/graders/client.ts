// Ten calls with types that are generated from the contract, against a server.
// Run by `run`; the first argument is the server's address.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const baseUrl = process.argv[2];
if (baseUrl === undefined) throw new Error("node out/client.js http://127.0.0.1:8080");

type Answer<T> = { data?: T; error?: unknown; response: Response };

/** The body of an answer that is none of the problems. */
function expect<T>(answer: Answer<T>, status: number): T {
  if (answer.response.status !== status) {
    const told = JSON.stringify(answer.error);
    throw new Error(`${answer.response.url}: ${answer.response.status} ${told}`);
  }
  return answer.data as T;
}

function same(found: unknown, wanted: unknown): void {
  if (found !== wanted) throw new Error(`found ${String(found)}, wanted ${String(wanted)}`);
}

async function register(handle: string) {
  const nobody = createClient<paths>({ baseUrl: baseUrl! });
  const body = { handle, email: `${handle}@example.org`, password: "correct horse battery" };
  const registered = expect(await nobody.POST("/v1/accounts", { body }), 201);
  const headers = { Authorization: `Bearer ${registered.session.access_token}` };
  const client = createClient<paths>({ baseUrl: baseUrl!, headers });
  return { id: registered.id, session: registered.session, client };
}

const number = Date.now().toString(36);
const ada = await register(`ada_${number}`);
const bob = await register(`bob_${number}`);

const written = await ada.client.POST("/v1/posts", { body: { text: "Hello #world", metadata: { category: "greetings" } } });
const post = expect(written, 201);
const position = written.response.headers.get("event-position") ?? "";

const account = { params: { path: { account_id: ada.id } } };
expect(await bob.client.PUT("/v1/accounts/{account_id}/follow", account), 204);
expect(await bob.client.PUT("/v1/posts/{post_id}/like", { params: { path: { post_id: post.id } } }), 204);

const home = expect(await bob.client.GET("/v1/timelines/home", { params: { query: { limit: 10 } } }), 200);
same(home.items[0]?.id, post.id);
same(home.items[0]?.viewer?.liked, true);

const seen = { path: { post_id: post.id }, header: { "Min-Position": position } };
const read = await bob.client.GET("/v1/posts/{post_id}", { params: seen });
same(expect(read, 200).text, "Hello #world");

const refresh = { refresh_token: ada.session.refresh_token };
expect(await ada.client.POST("/v1/sessions/refresh", { body: refresh }), 200);
const sessions = expect(await ada.client.GET("/v1/sessions", {}), 200);
same(sessions.items.filter((session) => session.current).length, 1);

expect(await ada.client.DELETE("/v1/sessions/current", {}), 204);
const ended = await ada.client.GET("/v1/sessions", {});
same(ended.error?.code, "session_ended");
console.log("ten calls, as the contract says");
