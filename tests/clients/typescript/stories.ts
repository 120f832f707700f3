// The stories in TypeScript, told with the generated client alone: see ../../README.md.
// The first argument is the server's address.
import { createClient, type Problem, type Session } from "headwater-client";

const baseUrl = process.argv[2];
if (baseUrl === undefined) throw new Error("node out/stories.js http://127.0.0.1:8080");
const nobody = createClient({ baseUrl });
const password = "correct horse battery";
const run = Date.now().toString(36);
let people = 0;

type Answer<T> = { data?: T; error?: Problem; response: Response };

/** The body of an answer that is none of the problems. */
function answered<T>({ data, error, response }: Answer<T>): T {
  if (error !== undefined || !response.ok) {
    throw new Error(`${response.url}: ${response.status} ${JSON.stringify(error)}`);
  }
  return data as T;
}

function refused(answer: Answer<unknown>, status: number, code: string): Problem {
  const problem = answer.error;
  same([answer.response.status, problem?.status, problem?.code], [status, status, code]);
  return problem!;
}

function position(answer: Answer<unknown>): string {
  return answer.response.headers.get("event-position") ?? "";
}

function same(found: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`found ${a}, wanted ${b}`);
}

const as = (session: Session) =>
  createClient({ baseUrl: baseUrl!, headers: { Authorization: `Bearer ${session.access_token}` } });

async function register() {
  const handle = `ts_${run}_${++people}`;
  const body = { handle, email: `${handle}@example.org`, password };
  const { id, session } = answered(await nobody.POST("/v1/accounts", { body }));
  return { id, handle, session, client: as(session), account: { path: { account_id: id } } };
}

type Client = Awaited<ReturnType<typeof register>>["client"];

async function publish(client: Client, text: string, reply_to_id?: string) {
  const body = reply_to_id === undefined ? { text } : { text, reply_to_id };
  const answer = await client.POST("/v1/posts", { body });
  const { id } = answered(answer);
  return { id, position: position(answer), path: { post_id: id } };
}

const stories = {
  async register_and_read_oneself() {
    const ada = await register();
    const me = answered(await ada.client.GET("/v1/accounts/me"));
    same([me.id, me.handle, me.private, me.posts_count], [ada.id, ada.handle, false, 0]);
    same(me.email, `${ada.handle}@example.org`);
  },

  async sign_in_refresh_and_sign_out() {
    const ada = await register();
    const body = { login: ada.handle, password };
    const first = answered(await nobody.POST("/v1/sessions", { body }));
    const { refresh_token } = first;
    const next = answered(await nobody.POST("/v1/sessions/refresh", { body: { refresh_token } }));
    same(next.refresh_token === refresh_token, false);

    const client = as(next);
    const { items } = answered(await client.GET("/v1/sessions"));
    const current = items.filter((session) => session.current);
    same([items.length, current.length, current[0]?.id], [2, 1, first.session_id]);
    answered(await client.DELETE("/v1/sessions/current"));
    refused(await client.GET("/v1/sessions"), 401, "session_ended");
    same(answered(await ada.client.GET("/v1/sessions")).items.length, 1);
  },

  async publish_and_read_back() {
    const [ada, bob] = [await register(), await register()];
    const body = { text: "Hello #world", metadata: { category: "greetings" } };
    const written = await ada.client.POST("/v1/posts", { body });
    const { id } = answered(written);
    // One reads what one wrote; others wait for it where they are told its position.
    const params = { path: { post_id: id }, header: { "Min-Position": position(written) } };
    const post = answered(await bob.client.GET("/v1/posts/{post_id}", { params }));
    same([post.text, post.author.handle, post.hashtags], ["Hello #world", ada.handle, ["world"]]);
    same([post.metadata, post.visibility], [body.metadata, "public"]);
  },

  async reply_and_read_the_thread() {
    const [ada, bob] = [await register(), await register()];
    const question = await publish(ada.client, "Who is there?");
    const reply = await publish(bob.client, "Bob.", question.id);
    const params = { path: question.path, header: { "Min-Position": reply.position } };
    const thread = answered(await ada.client.GET("/v1/posts/{post_id}/thread", { params }));
    same([thread.post.id, thread.post.replies_count], [question.id, 1]);
    const [descendant] = thread.descendants;
    same([descendant?.id, descendant?.reply_to_id], [reply.id, question.id]);
    same(thread.descendants.length + thread.ancestors.length, 1);
  },

  async edit_without_losing_an_update() {
    const ada = await register();
    const post = await publish(ada.client, "Frist");
    const read = await ada.client.GET("/v1/posts/{post_id}", { params: { path: post.path } });
    const params = { path: post.path, header: { "If-Match": read.response.headers.get("etag") ?? "" } };
    const edit = (text: string) => ada.client.PATCH("/v1/posts/{post_id}", { params, body: { text } });
    answered(await edit("First"));
    refused(await edit("Second"), 412, "version_mismatch");

    const edited = answered(await ada.client.GET("/v1/posts/{post_id}", { params: { path: post.path } }));
    same([edited.text, edited.edited_at === undefined], ["First", false]);
  },

  async like_and_unlike() {
    const [ada, bob] = [await register(), await register()];
    const { path } = await publish(ada.client, "Like me");
    const liked = async () => {
      const post = answered(await bob.client.GET("/v1/posts/{post_id}", { params: { path } }));
      return [post.viewer?.liked, post.likes_count];
    };
    answered(await bob.client.PUT("/v1/posts/{post_id}/like", { params: { path } }));
    same(await liked(), [true, 1]);
    answered(await bob.client.DELETE("/v1/posts/{post_id}/like", { params: { path } }));
    same(await liked(), [false, 0]);
  },

  async follow_a_private_account() {
    const [ada, bob] = [await register(), await register()];
    answered(await ada.client.PATCH("/v1/accounts/me", { body: { private: true } }));
    const standing = async (after?: string) => {
      const header = after === undefined ? {} : { "Min-Position": after };
      const params = { query: { ids: ada.id }, header };
      const [found] = answered(await bob.client.GET("/v1/relationships", { params })).items;
      return [found?.requested, found?.following];
    };
    const follow = await bob.client.PUT("/v1/accounts/{account_id}/follow", { params: ada.account });
    answered(follow);
    same(await standing(), [true, false]);

    const params = { header: { "Min-Position": position(follow) } };
    const requests = answered(await ada.client.GET("/v1/accounts/me/follow-requests", { params }));
    same(requests.items.map((account) => account.id), [bob.id]);
    const accept = await ada.client.PUT("/v1/accounts/me/followers/{account_id}", { params: bob.account });
    answered(accept);
    same(await standing(position(accept)), [false, true]);
  },

  async page_through_home() {
    const ada = await register();
    const published: string[] = [];
    for (const text of ["one", "two", "three", "four", "five"]) {
      published.unshift((await publish(ada.client, text)).id);
    }
    const sizes: number[] = [];
    const found: string[] = [];
    let cursor: string | undefined;
    do {
      const query = cursor === undefined ? { limit: 2 } : { limit: 2, cursor };
      const page = answered(await ada.client.GET("/v1/timelines/home", { params: { query } }));
      sizes.push(page.items.length);
      found.push(...page.items.map((post) => post.id));
      cursor = page.next_cursor;
    } while (cursor !== undefined && sizes.length < 5);
    same([sizes, found], [[2, 2, 1], published]);
  },

  async read_typed_problems() {
    const ada = await register();
    const post_id = "0198b5a2-9c4e-7f00-8123-456789ab7b8a";
    const missing = await ada.client.GET("/v1/posts/{post_id}", { params: { path: { post_id } } });
    const { request_id } = refused(missing, 404, "not_found");
    same(request_id, missing.response.headers.get("x-request-id"));

    const body = { text: "To nobody", reply_to_id: post_id };
    const invalid = refused(await ada.client.POST("/v1/posts", { body }), 422, "invalid_field");
    same(invalid.errors?.map((error) => error.pointer), ["/reply_to_id"]);
  },

  async retry_with_an_idempotency_key() {
    const ada = await register();
    const params = { header: { "Idempotency-Key": crypto.randomUUID() } };
    const send = (text: string) => ada.client.POST("/v1/posts", { params, body: { text } });
    const first = answered(await send("Once"));
    same(answered(await send("Once")).id, first.id);
    refused(await send("Twice"), 422, "idempotency_key_reused");
    same(answered(await ada.client.GET("/v1/accounts/me/posts")).items.length, 1);
  },

  async wait_when_it_was_too_much() {
    const ada = await register();
    const body = { login: ada.handle, password: "not this one" };
    for (let tries = 0; tries < 5; tries++) {
      refused(await nobody.POST("/v1/sessions", { body }), 401, "invalid_credentials");
    }
    const stopped = await nobody.POST("/v1/sessions", { body });
    refused(stopped, 429, "too_many_requests");
    const seconds = Number(stopped.response.headers.get("retry-after"));
    same(seconds >= 1 && seconds <= 300, true);
  },
};

for (const [name, story] of Object.entries(stories)) {
  await story();
  console.log(name);
}
