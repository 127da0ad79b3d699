"""What the service says, tested on the pure state machine: no sockets, no clock."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toapis_async.testing.catalogue import LogNormal
from toapis_async.testing.limits import GROUPS, GroupLimits
from toapis_async.testing.service import Answer, Service, Settings
from toapis_async.testing.submissions import FAIL_MARKER, REJECT_MARKER

if TYPE_CHECKING:
    from toapis_async.testing.replies import Reply

KEY = {"Authorization": "Bearer sk-simulated"}
PATH = "/v1/images/generations"


def service(**options: Any) -> Service:
    defaults: dict[str, Any] = {"durations": 10.0, "unix_start": 1_800_000_000.0}
    return Service(settings=Settings(**defaults | options), origin="http://files")


def post(to: Service, now: float = 0.0, **fields: Any) -> Answer:
    body = {"model": "grok-4-1-image", "prompt": "a fox", **fields}
    return to.handle(now, "POST", PATH, KEY, json.dumps(body).encode())


def get(to: Service, reference: str, now: float) -> Any:
    reply = to.handle(now, "GET", f"{PATH}/{reference}", KEY, b"").reply
    assert reply.status == 200
    return read(reply)


def read(reply: Reply) -> Any:
    return json.loads(reply.body)


def submit(to: Service, now: float = 0.0, **fields: Any) -> str:
    return cast("str", read(post(to, now, **fields).reply)["id"])


def test_a_task_is_queued_then_sticks_at_ten_percent_then_completes_with_its_pictures() -> None:
    target = service()
    created = read(post(target, n=2, client_business_id="mine").reply)
    task_id = created["id"]
    assert created == {
        "id": task_id,
        "object": "generation.task",
        "model": "grok-4-1-image",
        "status": "queued",
        "progress": 0,
        "created_at": 1_800_000_000,
        "client_business_id": "mine",
        "metadata": {},
    }
    states = [(get(target, task_id, now)["status"], get(target, task_id, now)["progress"]) for now in (0, 1, 9.9, 10)]
    assert states == [("queued", 0), ("in_progress", 10), ("in_progress", 10), ("completed", 100)]
    done = get(target, task_id, 10)
    assert done["result"] == {
        "type": "image",
        "data": [{"url": f"http://files/files/generated/{task_id}-{i}.png"} for i in range(2)],
    }
    assert (done["completed_at"], done["expires_at"]) == (1_800_000_010, 1_800_086_410)


def test_the_bill_is_pending_until_a_moment_after_completion_and_its_money_is_text() -> None:
    target = service()
    task_id = submit(target, n=4)
    assert get(target, task_id, 5)["billing"] == {"status": "pending"}
    assert get(target, task_id, 10)["billing"] == {"status": "pending"}
    assert get(target, task_id, 13)["billing"] == {"status": "settled", "credits": "16", "cost_usd": "0.08"}


def test_models_billed_by_tokens_report_consistent_usage_once_settled() -> None:
    target = service()
    task_id = submit(target, model="gpt-image-2.5-flare-vip")
    assert "usage" not in get(target, task_id, 10)
    usage = get(target, task_id, 13)["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_a_failed_task_says_so_and_is_refunded() -> None:
    target = service(credits=Decimal(4))
    task_id = submit(target, prompt=f"a fox {FAIL_MARKER}")
    assert target.balance(5) == 0
    failed = get(target, task_id, 10)
    assert (failed["status"], failed["progress"]) == ("failed", 0)
    assert failed["error"]["code"] == "generation_failed"
    assert failed["billing"] == {"status": "refunded", "credits": "0", "cost_usd": "0"}
    assert target.balance(10) == 4


def test_the_balance_runs_out_with_402_and_charges_nothing_then() -> None:
    target = service(credits=Decimal(7))
    assert post(target).reply.status == 200
    refused = post(target)
    assert (refused.reply.status, read(refused.reply)["error"]["code"]) == (402, "insufficient_quota")
    assert len(target.charges) == 1


def test_results_are_gone_a_day_after_completion() -> None:
    target = service()
    task_id = submit(target)
    name = f"/files/generated/{task_id}-0.png"
    statuses = [target.handle(now, "GET", name, {}, b"").reply.status for now in (9, 10, 86_409, 86_410)]
    assert statuses == [404, 200, 200, 404]
    assert get(target, task_id, 86_410)["result"] == {"type": "image", "data": []}


@pytest.mark.parametrize("name", ["x-0.png", "{id}-1.png", "{id}-0.jpg", "{id}.png", "{id}--1.png", "%2e%2e"])
def test_files_that_were_not_made_do_not_exist(name: str) -> None:
    target = service()
    path = f"/files/generated/{name.format(id=submit(target))}"
    assert target.handle(20, "GET", path, {}, b"").reply.status == 404


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-9", 206, (0, 10)),
        ("bytes=100-", 206, (100, None)),
        ("bytes=100-999999", 206, (100, None)),
        ("bytes=999999-", 416, (0, 0)),
        ("bytes=-5", 200, (0, None)),
    ],
)
def test_a_file_can_be_read_in_parts(asked: str, status: int, span: tuple[int, int | None]) -> None:
    target = service()
    path = f"/files/generated/{submit(target)}-0.png"
    whole = target.handle(20, "GET", path, {}, b"").reply
    part = target.handle(20, "GET", path, {"Range": asked}, b"").reply
    assert (part.status, part.body) == (status, whole.body[slice(*span)])
    stale = target.handle(20, "GET", path, {"Range": asked, "If-Range": '"other"'}, b"").reply
    assert (stale.status, stale.body) == (200, whole.body)


def test_time_factor_divides_durations_expiry_settling_and_rate_windows() -> None:
    target = service(time_factor=10.0, limits=GROUPS["default"])
    task_id = submit(target)
    assert get(target, task_id, 0.99)["status"] == "in_progress"
    done = get(target, task_id, 1.3)
    assert (done["status"], done["billing"]["status"]) == ("completed", "settled")
    assert done["expires_at"] - done["completed_at"] == 8_640
    answers = [post(target, 2.0).reply.status for _ in range(51)]
    assert answers == [200] * 50 + [429]
    assert post(target, 3.0).reply.status == 200


def test_a_client_business_id_finds_the_first_task_that_used_it_and_does_not_stop_a_second_charge() -> None:
    target = service()
    first, second = (submit(target, client_business_id="order/7 ü") for _ in range(2))
    assert first != second
    assert [charge.task_id for charge in target.charges] == [first, second]
    assert get(target, "order%2F7%20%C3%BC", 1)["id"] == first


def test_the_client_business_id_may_stand_in_the_metadata() -> None:
    target = service()
    task_id = submit(target, metadata={"client_business_id": "nested"})
    assert get(target, "nested", 1)["id"] == task_id
    outer = submit(target, client_business_id="outer", metadata={"client_business_id": "inner"})
    assert get(target, "outer", 1)["id"] == outer


def test_unknown_ids_are_404_task_not_found() -> None:
    reply = service().handle(0, "GET", f"{PATH}/nobody", KEY, b"").reply
    assert (reply.status, read(reply)["error"]["code"]) == (404, "task_not_found")


@pytest.mark.parametrize("key", ["", "Bearer sk-wrong", "sk-simulated", "Basic sk-simulated"])
def test_a_bad_key_is_401_with_an_integer_code(key: str) -> None:
    reply = service().handle(0, "GET", f"{PATH}/x", {"Authorization": key}, b"").reply
    error = read(reply)["error"]
    assert (reply.status, error["code"], error["type"]) == (401, 401, "authentication_error")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": None}, 400, "invalid_request"),
        ({"prompt": ""}, 400, "invalid_request"),
        ({"prompt": 5}, 400, "invalid_request"),
        ({"prompt": "x" * 1001}, 400, "invalid_parameter"),
        ({"n": "1"}, 400, "invalid_request"),
        ({"n": True}, 400, "invalid_request"),
        ({"n": 1.5}, 400, "invalid_request"),
        ({"n": 3}, 400, "invalid_parameter"),
        ({"n": 0}, 400, "invalid_parameter"),
        ({"size": "4:3"}, 400, "invalid_parameter"),
        ({"size": 1}, 400, "invalid_request"),
        ({"image_urls": "http://x/a.png"}, 400, "invalid_request"),
        ({"image_urls": [{"url": "http://x/a.png"}]}, 400, "invalid_request"),
        ({"image_urls": ["data:image/png;base64,AAAA"]}, 400, "invalid_reference_images"),
        ({"image_urls": ["iVBORw0KGgo="]}, 400, "invalid_reference_images"),
        ({"image_urls": ["https://x/a.png"] * 6}, 400, "invalid_reference_images"),
        ({"image_urls": [], "reference_images": []}, 400, "invalid_request"),
        ({"client_business_id": 7}, 400, "invalid_request"),
        ({"metadata": []}, 400, "invalid_request"),
        ({"callback_url": "https://x/hook"}, 400, "webhook_not_configured"),
        ({"prompt": f"nice {REJECT_MARKER}"}, 422, "content_policy_violation"),
        ({"model": "grok-9"}, 503, "model_not_found"),
        ({"model": "gpt-image-2", "size": "1024x1024"}, 503, "model_not_found"),
        ({"model": "gpt-image-2", "size": "7:1"}, 400, "invalid_parameter"),
    ],
)
def test_bad_requests_are_refused_and_not_charged(fields: dict[str, Any], status: int, code: str) -> None:
    target = service()
    answer = post(target, **fields)
    assert (answer.reply.status, read(answer.reply)["error"]["code"]) == (status, code)
    assert (answer.accepted, target.charges) == (False, [])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_json_object_are_refused(body: bytes) -> None:
    assert service().handle(0, "POST", PATH, KEY, body).reply.status == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"n": None, "size": None, "image_urls": None, "metadata": None, "client_business_id": None},
        {"n": 4, "size": "16:9", "image_urls": ["https://x/a.png"] * 5, "prompt": "x" * 1000},
        {"model": "qwen-image-3.0", "size": "700x900"},
        {"model": "gpt-image-2.5-flare"},
        {"prompt": "\ud800 lonely", "client_business_id": "\ud800"},
        {"something": "new"},
    ],
)
def test_good_requests_are_accepted(fields: dict[str, Any]) -> None:
    assert post(service(), **fields).accepted


def test_some_models_start_as_pending() -> None:
    assert read(post(service(), model="gpt-image-2.5-flare").reply)["status"] == "pending"


def test_no_channel_wears_a_503_and_names_the_model() -> None:
    message = read(post(service(), model="grok-9").reply)["error"]["message"]
    assert message == "no available channel for model grok-9"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/images/generations/x", 404),
        ("GET", "/v1/v1/images/generations/x", 404),
        ("POST", f"{PATH}/", 404),
        ("GET", PATH, 405),
        ("DELETE", f"{PATH}/x", 405),
        ("GET", f"{PATH}/a/b", 404),
    ],
)
def test_paths_the_service_does_not_have_show_the_html_console(method: str, path: str, status: int) -> None:
    reply = service().handle(0, method, path, KEY, b"").reply
    assert (reply.status, reply.headers["Content-Type"]) == (status, "text/html; charset=utf-8")


def test_rate_limits_are_sliding_count_business_failures_and_not_429s() -> None:
    target = service(limits=GROUPS["default"])
    replies = [post(target, 0.1 * i, model="grok-9").reply for i in range(60)]
    assert [reply.status for reply in replies] == [503] * 50 + [429] * 10
    refused = replies[50]
    # The first request leaves the 10 s window at 10.0; it is 5.0 now.
    assert refused.headers["Retry-After"] == "5"
    assert refused.headers["X-RateLimit-Category"] == "async_submit"
    assert (refused.headers["X-RateLimit-Limit"], refused.headers["X-RateLimit-Remaining"]) == ("50", "0")
    assert refused.headers["X-RateLimit-Reset"] == "1800000010"
    assert post(target, 10.0).reply.status == 200
    assert post(target, 10.05).reply.status == 429
    assert target.handle(5, "GET", f"{PATH}/x", KEY, b"").reply.status == 404


def test_the_minute_limit_holds_beyond_the_burst_limit() -> None:
    target = service(limits=GROUPS["default"])
    # Five a second is exactly what both windows allow.
    statuses = [post(target, i * 0.2).reply.status for i in range(1_000)]
    assert statuses == [200] * 1_000
    tight = GroupLimits(submit_per_minute=60, submit_per_10s=50, query_per_minute=1, query_per_10s=1)
    target = service(limits=tight)
    accepted = [i * 0.1 for i in range(1_000) if post(target, i * 0.1).reply.status == 200]
    assert sum(at < 60 for at in accepted) == 60
    assert accepted[60] == 60.0


def test_limits_of_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        GroupLimits(submit_per_minute=0, submit_per_10s=1, query_per_minute=1, query_per_10s=1)


@given(gaps=st.lists(st.floats(0, 3), max_size=200))
def test_no_window_ever_holds_more_than_the_documented_limit_and_retry_after_is_enough(gaps: list[float]) -> None:
    target = service(limits=GROUPS["default"])
    now, accepted = 0.0, list[float]()
    for gap in gaps:
        now += gap / 10
        reply = post(target, now).reply
        if reply.status == 429:
            now += int(reply.headers["Retry-After"])
            reply = post(target, now).reply
        assert reply.status == 200
        accepted.append(now)
        assert sum(now - 10 + 1e-5 < at for at in accepted) <= 50


def test_downloads_need_no_key_and_are_not_limited() -> None:
    target = service(limits=GROUPS["default"])
    path = f"/files/generated/{submit(target)}-0.png"
    reply = target.handle(20, "GET", path, {}, b"").reply
    assert (reply.status, reply.headers["Content-Type"], reply.body[:4]) == (200, "image/png", b"\x89PNG")


def test_the_same_seed_gives_the_same_ids_and_durations() -> None:
    def run(seed: int) -> list[tuple[str, float]]:
        target = service(seed=seed, durations=None)
        tasks = [post(target).task for _ in range(20)]
        return [(task.id, task.duration) for task in tasks if task is not None]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert all(task_id.startswith("tsk_img_01K") and len(task_id) == 34 for task_id, _ in run(0))


def test_default_durations_lie_around_fifteen_seconds() -> None:
    target = service(durations=None)
    tasks = [post(target).task for _ in range(400)]
    durations = sorted(task.duration for task in tasks if task is not None)
    assert 13 < durations[200] < 17
    assert durations[0] > 3
    assert durations[-1] < 60


def test_a_negative_duration_is_an_error_of_the_test_and_charges_nothing() -> None:
    target = service(durations=-1.0)
    with pytest.raises(ValueError, match="cannot last -1"):
        post(target)
    assert target.charges == []


def test_durations_may_be_given_per_model() -> None:
    target = service(durations={"grok-4-2-image": 3, "gpt-image-2": LogNormal(7, 0)})
    durations = [
        task.duration
        for model in ("grok-4-2-image", "gpt-image-2")
        if (task := post(target, model=model).task) is not None
    ]
    assert durations == [3, 7]
    with pytest.raises(ValueError, match="unknown models: grok-9"):
        service(durations={"grok-9": 1.0})
