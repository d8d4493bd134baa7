"""Google's clients of Pub/Sub and of notifications, against the emulator in its own process."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from google.api_core.exceptions import Forbidden, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import pubsub_v1, storage

from gcsmux_fs.emulator.faults import AckLost, MessageDuplicated, Status
from gcsmux_fs.emulator.injection import Rule
from gcsmux_fs.model.errors import StatusCode
from tests.support.emulator_process import EmulatorProcess
from tests.support.harness import wait_until

from .clients import Clients, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real_time

PROJECT = "test-project"
TOPIC = f"projects/{PROJECT}/topics/changes"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/changes"
SECONDS = 20


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    process = EmulatorProcess(tmp_path_factory.mktemp("served"), json_api=True)
    with process, pytest.MonkeyPatch.context() as environment:
        environment.setenv("PUBSUB_EMULATOR_HOST", process.endpoint)
        environment.setenv("STORAGE_EMULATOR_HOST", process.json_endpoint)
        yield process


@pytest.fixture
def publisher(emulator: EmulatorProcess) -> Iterator[Any]:
    client: Any = pubsub_v1.PublisherClient()
    client.create_topic(name=TOPIC)
    yield client
    client.delete_topic(topic=TOPIC)
    client.stop()
    client.transport.close()


@pytest.fixture
def subscriber(emulator: EmulatorProcess, publisher: Any) -> Iterator[Any]:
    with pubsub_v1.SubscriberClient() as client:
        client.create_subscription(name=SUBSCRIPTION, topic=TOPIC, ack_deadline_seconds=10)
        yield client
        emulator.clear_faults()
        client.delete_subscription(subscription=SUBSCRIPTION)


class Callback:
    """Acknowledges and stores each message. `wait` returns after `count` messages."""

    def __init__(self, client: Any) -> None:
        self.messages: list[Any] = []
        self._changed = threading.Condition()
        self._future = client.subscribe(SUBSCRIPTION, self._received)

    def _received(self, message: Any) -> None:
        message.ack()
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def wait(self, count: int) -> list[Any]:
        with self._changed:
            done = self._changed.wait_for(lambda: len(self.messages) >= count, SECONDS)
        assert done, f"{len(self.messages)} messages instead of {count}"
        return self.messages

    def __enter__(self) -> Callback:
        return self

    def __exit__(self, *_: object) -> None:
        self._future.cancel()
        self._future.result(SECONDS)


def test_a_callback_gets_every_published_message(
    emulator: EmulatorProcess, publisher: Any, subscriber: Any
) -> None:
    with Callback(subscriber) as callback:
        sent = [publisher.publish(TOPIC, b"data", number=str(n)) for n in range(100)]
        ids = {future.result(SECONDS) for future in sent}
        received = callback.wait(100)
        assert {message.message_id for message in received} == ids
        assert {message.attributes["number"] for message in received} == set(map(str, range(100)))
        wait_until(lambda: emulator.subscription(SUBSCRIPTION).acked == 100, "all acknowledged")
    sent_times = [delivery.sent for delivery in emulator.deliveries(SUBSCRIPTION)]
    assert len(sent_times) == 100
    assert sent_times == sorted(sent_times)


def test_pull_seek_and_deadlines(
    emulator: EmulatorProcess, publisher: Any, subscriber: Any
) -> None:
    subscriber.update_subscription(
        subscription={"name": SUBSCRIPTION, "retain_acked_messages": True},
        update_mask={"paths": ["retain_acked_messages"]},
    )
    publisher.publish(TOPIC, b"first").result(SECONDS)

    def pull() -> Any:
        (received,) = subscriber.pull(subscription=SUBSCRIPTION, max_messages=10).received_messages
        return received

    first = pull()
    assert emulator.subscription(SUBSCRIPTION).waiting == 0
    subscriber.modify_ack_deadline(
        subscription=SUBSCRIPTION, ack_ids=[first.ack_id], ack_deadline_seconds=0
    )
    again = pull()
    assert again.message.data == b"first"
    assert again.ack_id != first.ack_id
    subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=[again.ack_id])
    subscriber.seek(request={"subscription": SUBSCRIPTION, "time": again.message.publish_time})
    after_seek = pull()
    assert after_seek.message.message_id == again.message.message_id


def test_a_deleted_subscription_ends_the_stream(publisher: Any, subscriber: Any) -> None:
    future = subscriber.subscribe(SUBSCRIPTION, lambda _: None)
    subscriber.delete_subscription(subscription=SUBSCRIPTION)
    with pytest.raises(NotFound):
        future.result(SECONDS)
    subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
    with Callback(subscriber) as callback:
        publisher.publish(TOPIC, b"back").result(SECONDS)
        assert callback.wait(1)[0].data == b"back"


def test_faults_repeat_messages_and_end_streams(
    emulator: EmulatorProcess, publisher: Any, subscriber: Any
) -> None:
    emulator.inject(
        Rule(MessageDuplicated()),
        Rule(AckLost(), skip=1),
        Rule(Status(StatusCode.UNAVAILABLE), at=MessageDuplicated.points[0], skip=2),
    )
    with Callback(subscriber) as callback:
        for number in range(5):
            publisher.publish(TOPIC, b"data", number=str(number)).result(SECONDS)
        callback.wait(7)
        numbers = Counter(message.attributes["number"] for message in callback.messages)
    assert sorted(numbers.values()) in ([1, 1, 1, 2, 2], [1, 1, 1, 1, 3])
    assert emulator.statistics().faults == {"message_duplicated": 1, "ack_lost": 1, "status": 1}


def test_notifications_of_a_bucket(
    emulator: EmulatorProcess, publisher: Any, subscriber: Any
) -> None:
    client: Any = storage.Client(project=PROJECT, credentials=AnonymousCredentials())
    notification = client.bucket(emulator.bucket_name).notification(
        topic_name="changes",
        topic_project=PROJECT,
        custom_attributes={"owner": "me"},
        event_types=["OBJECT_FINALIZE", "OBJECT_DELETE"],
        blob_name_prefix="data/",
        payload_format="JSON_API_V1",
    )
    with pytest.raises(Forbidden):
        notification.create()
    policy = publisher.get_iam_policy(request={"resource": TOPIC})
    member = f"serviceAccount:{client.get_service_account_email()}"
    policy.bindings.add(role="roles/pubsub.publisher", members=[member])
    publisher.set_iam_policy(request={"resource": TOPIC, "policy": policy})
    notification.create()
    assert [n.topic_name for n in client.bucket(emulator.bucket_name).list_notifications()] == [
        "changes"
    ]
    with Callback(subscriber) as callback:
        emulator.write("other/object", b"no event")
        generation = emulator.write("data/object", b"hello")
        emulator.change_metadata("data/object", {"key": "no event"})
        emulator.delete("data/object")
        written, deleted = sorted(callback.wait(2), key=lambda message: message.publish_time)
    assert dict(written.attributes) | {"eventTime": ""} == {
        "owner": "me",
        "notificationConfig": f"projects/_/buckets/{emulator.bucket_name}/notificationConfigs/1",
        "eventType": "OBJECT_FINALIZE",
        "payloadFormat": "JSON_API_V1",
        "bucketId": emulator.bucket_name,
        "objectId": "data/object",
        "objectGeneration": str(generation),
        "eventTime": "",
    }
    assert deleted.attributes["eventType"] == "OBJECT_DELETE"
    assert notification.exists()
    notification.delete()
    assert not notification.exists()
    client.close()


def test_the_example_in_the_document_runs(
    emulator: EmulatorProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    document = (Path(__file__).parents[2] / "docs" / "EMULATOR.md").read_text()
    (text,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    exec(compile(text.replace("127.0.0.1:9000", emulator.endpoint), "EMULATOR.md", "exec"), {})
    assert "projects/my-project/subscriptions/mine" in capsys.readouterr().out


def test_a_subscription_is_removed_and_comes_back_after_a_restart(
    emulator: EmulatorProcess,
) -> None:
    name = emulator.subscribe()
    emulator.place("by file", b"data")
    wait_until(lambda: emulator.subscription(name).waiting == 1, "the change is published")
    emulator.kill()
    emulator.start()
    assert emulator.subscription(name).waiting == 0
    emulator.write("by call", b"data")
    assert emulator.subscription(name).waiting == 1
    emulator.unsubscribe(name)
    emulator.subscribe(name)
    assert emulator.subscription(name).waiting == 0
    emulator.unsubscribe(name)


def test_the_json_api_checks_tokens(served: Path) -> None:
    async def scenario(clients: Clients) -> None:
        url = f"http://{clients.emulator.json_address}/storage/v1/b/b"
        with pytest.raises(HTTPError, match="401") as refused:
            await asyncio.to_thread(urlopen, url)
        refused.value.close()
        request = Request(url, headers={"Authorization": "Bearer secret"})
        with await asyncio.to_thread(urlopen, request) as response:
            assert json.load(response)["name"] == "b"

    tokens = served / ".tokens"
    tokens.write_text("secret")
    serve(served, scenario, json_port=0, tokens_file=tokens)
