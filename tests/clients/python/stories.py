"""The stories in Python, told with the generated client alone: see ../../README.md.

The first argument is the server's address.
"""

import sys
import time
import uuid
from typing import Any, NamedTuple, TypeVar

from headwater_client import AuthenticatedClient, Client
from headwater_client.api.accounts import get_my_account, register_account, update_my_profile
from headwater_client.api.follows import (
    accept_follower,
    follow_account,
    list_follow_requests,
    list_relationships,
)
from headwater_client.api.likes import like_post, unlike_post
from headwater_client.api.posts import edit_post, get_post, get_thread, publish_post
from headwater_client.api.sessions import list_sessions, refresh_session, sign_in, sign_out
from headwater_client.api.timelines import get_home_timeline, list_my_posts
from headwater_client.models import (
    AccountPage,
    NewPost,
    NewPostMetadataType0,
    OwnAccount,
    Post,
    PostEdit,
    PostPage,
    Problem,
    ProfileChange,
    Refresh,
    Registered,
    Registration,
    RelationshipBatch,
    Session,
    SessionList,
    SignIn,
    PostThread,
)
from headwater_client.types import UNSET, Response, Unset

BASE_URL = sys.argv[1]
NOBODY = Client(base_url=BASE_URL)
PASSWORD = "correct horse battery"
RUN = f"{time.time_ns():x}"
people = 0

Body = TypeVar("Body")


def answered(answer: Response[Any], kind: type[Body]) -> Body:
    """The body of an answer that is none of the problems."""
    if not isinstance(answer.parsed, kind):
        raise AssertionError(f"{answer.status_code}: {answer.content!r}")
    return answer.parsed


def done(answer: Response[Any]) -> None:
    assert 200 <= answer.status_code < 300, f"{answer.status_code}: {answer.content!r}"


def refused(answer: Response[Any], status: int, code: str) -> Problem:
    problem = answered(answer, Problem)
    same((answer.status_code, problem.status, problem.code), (status, status, code))
    return problem


def position(answer: Response[Any]) -> str:
    return answer.headers["event-position"]


def same(found: object, wanted: object) -> None:
    assert found == wanted, f"found {found}, wanted {wanted}"


def signed_in(session: Session) -> AuthenticatedClient:
    return AuthenticatedClient(base_url=BASE_URL, token=session.access_token)


class Person(NamedTuple):
    id: uuid.UUID
    handle: str
    client: AuthenticatedClient


def register() -> Person:
    global people
    people += 1
    handle = f"py_{RUN}_{people}"
    body = Registration(handle=handle, email=f"{handle}@example.org", password=PASSWORD)
    registered = answered(register_account.sync_detailed(client=NOBODY, body=body), Registered)
    return Person(registered.id, handle, signed_in(registered.session))


def publish(person: Person, text: str, reply_to_id: uuid.UUID | Unset = UNSET) -> tuple[uuid.UUID, str]:
    body = NewPost(text=text, reply_to_id=reply_to_id)
    answer = publish_post.sync_detailed(client=person.client, body=body)
    return answered(answer, Post).id, position(answer)


def register_and_read_oneself() -> None:
    ada = register()
    me = answered(get_my_account.sync_detailed(client=ada.client), OwnAccount)
    same((me.id, me.handle, me.private, me.posts_count), (ada.id, ada.handle, False, 0))
    same(me.email, f"{ada.handle}@example.org")


def sign_in_refresh_and_sign_out() -> None:
    ada = register()
    login = SignIn(login=ada.handle, password=PASSWORD)
    first = answered(sign_in.sync_detailed(client=NOBODY, body=login), Session)
    token = Refresh(refresh_token=first.refresh_token)
    next = answered(refresh_session.sync_detailed(client=NOBODY, body=token), Session)
    assert next.refresh_token != first.refresh_token

    client = signed_in(next)
    items = answered(list_sessions.sync_detailed(client=client), SessionList).items
    current = [session.id for session in items if session.current]
    same((len(items), current), (2, [first.session_id]))
    done(sign_out.sync_detailed(client=client))
    refused(list_sessions.sync_detailed(client=client), 401, "session_ended")
    left = answered(list_sessions.sync_detailed(client=ada.client), SessionList)
    same(len(left.items), 1)


def publish_and_read_back() -> None:
    ada, bob = register(), register()
    metadata = NewPostMetadataType0.from_dict({"category": "greetings"})
    body = NewPost(text="Hello #world", metadata=metadata)
    written = publish_post.sync_detailed(client=ada.client, body=body)
    id = answered(written, Post).id
    # One reads what one wrote; others wait for it where they are told its position.
    read = get_post.sync_detailed(id, client=bob.client, min_position=position(written))
    post = answered(read, Post)
    same((post.text, post.author.handle, post.hashtags), ("Hello #world", ada.handle, ["world"]))
    assert post.metadata
    same((post.metadata.to_dict(), post.visibility), (metadata.to_dict(), "public"))


def reply_and_read_the_thread() -> None:
    ada, bob = register(), register()
    question, _ = publish(ada, "Who is there?")
    reply, reply_position = publish(bob, "Bob.", question)
    read = get_thread.sync_detailed(question, client=ada.client, min_position=reply_position)
    thread = answered(read, PostThread)
    same((thread.post.id, thread.post.replies_count), (question, 1))
    descendants = [(post.id, post.reply_to_id) for post in thread.descendants]
    same((descendants, thread.ancestors), ([(reply, question)], []))


def edit_without_losing_an_update() -> None:
    ada = register()
    id, _ = publish(ada, "Frist")
    etag = get_post.sync_detailed(id, client=ada.client).headers["etag"]

    def edit(text: str) -> Response[Any]:
        return edit_post.sync_detailed(id, client=ada.client, body=PostEdit(text=text), if_match=etag)

    done(edit("First"))
    refused(edit("Second"), 412, "version_mismatch")
    edited = answered(get_post.sync_detailed(id, client=ada.client), Post)
    same((edited.text, edited.edited_at is UNSET), ("First", False))


def like_and_unlike() -> None:
    ada, bob = register(), register()
    id, _ = publish(ada, "Like me")

    def liked() -> tuple[bool, int]:
        post = answered(get_post.sync_detailed(id, client=bob.client), Post)
        assert post.viewer
        return post.viewer.liked, post.likes_count

    done(like_post.sync_detailed(id, client=bob.client))
    same(liked(), (True, 1))
    done(unlike_post.sync_detailed(id, client=bob.client))
    same(liked(), (False, 0))


def follow_a_private_account() -> None:
    ada, bob = register(), register()
    done(update_my_profile.sync_detailed(client=ada.client, body=ProfileChange(private=True)))

    def standing(after: str | Unset = UNSET) -> tuple[bool, bool]:
        read = list_relationships.sync_detailed(client=bob.client, ids=str(ada.id), min_position=after)
        [found] = answered(read, RelationshipBatch).items
        return found.requested, found.following

    follow = follow_account.sync_detailed(str(ada.id), client=bob.client)
    done(follow)
    same(standing(), (True, False))
    read = list_follow_requests.sync_detailed(client=ada.client, min_position=position(follow))
    same([account.id for account in answered(read, AccountPage).items], [bob.id])
    accept = accept_follower.sync_detailed(str(bob.id), client=ada.client)
    done(accept)
    same(standing(position(accept)), (False, True))


def page_through_home() -> None:
    ada = register()
    published = [publish(ada, text)[0] for text in ("one", "two", "three", "four", "five")]
    pages: list[list[uuid.UUID]] = []
    cursor: str | Unset = UNSET
    while not pages or (cursor and len(pages) < 5):
        read = get_home_timeline.sync_detailed(client=ada.client, limit=2, cursor=cursor)
        page = answered(read, PostPage)
        pages.append([post.id for post in page.items])
        cursor = page.next_cursor
    same([len(page) for page in pages], [2, 2, 1])
    same([id for page in pages for id in page], published[::-1])


def read_typed_problems() -> None:
    ada = register()
    nowhere = uuid.UUID("0198b5a2-9c4e-7f00-8123-456789ab7b8a")
    missing = get_post.sync_detailed(nowhere, client=ada.client)
    problem = refused(missing, 404, "not_found")
    same(str(problem.request_id), missing.headers["x-request-id"])

    body = NewPost(text="To nobody", reply_to_id=nowhere)
    answer = publish_post.sync_detailed(client=ada.client, body=body)
    problem = refused(answer, 422, "invalid_field")
    same([error.pointer for error in problem.errors or []], ["/reply_to_id"])


def retry_with_an_idempotency_key() -> None:
    ada = register()
    key = str(uuid.uuid4())

    def send(text: str) -> Response[Any]:
        body = NewPost(text=text)
        return publish_post.sync_detailed(client=ada.client, body=body, idempotency_key=key)

    first = answered(send("Once"), Post)
    same(answered(send("Once"), Post).id, first.id)
    refused(send("Twice"), 422, "idempotency_key_reused")
    mine = answered(list_my_posts.sync_detailed(client=ada.client), PostPage)
    same(len(mine.items), 1)


def wait_when_it_was_too_much() -> None:
    ada = register()
    body = SignIn(login=ada.handle, password="not this one")
    for _ in range(5):
        refused(sign_in.sync_detailed(client=NOBODY, body=body), 401, "invalid_credentials")
    stopped = sign_in.sync_detailed(client=NOBODY, body=body)
    refused(stopped, 429, "too_many_requests")
    assert 1 <= int(stopped.headers["retry-after"]) <= 300


for story in (
    register_and_read_oneself,
    sign_in_refresh_and_sign_out,
    publish_and_read_back,
    reply_and_read_the_thread,
    edit_without_losing_an_update,
    like_and_unlike,
    follow_a_private_account,
    page_through_home,
    read_typed_problems,
    retry_with_an_idempotency_key,
    wait_when_it_was_too_much,
):
    story()
    print(story.__name__)
