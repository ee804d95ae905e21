"""Names of models, credentials, prices, retries and redaction: what is decided before and after a call."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import astuple, replace
from email.utils import formatdate
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.budget.ledger import Price
from pytest_promptopt.errors import CONSEQUENCES, ErrorKind, ModelError, SettingsError
from pytest_promptopt.models import registry
from pytest_promptopt.models.listed_prices import application_price
from pytest_promptopt.models.litellm_sdk import import_litellm
from pytest_promptopt.models.prices import _LONG_PRICES, _PRICES, claude_price, price_of
from pytest_promptopt.models.retry import RetryPolicy, kind_of_status, retry_after
from pytest_promptopt.models.secret_redaction import (
    MAX_LENGTH,
    redact_secrets,
    remember_header_secrets,
    remember_secrets,
)
from pytest_promptopt.models.unsent_errors import kind_of_unsent_error
from pytest_promptopt.records import Message, Request, Usage
from pytest_promptopt.settings import DEFAULT_OPTIMIZER_MODEL

CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE", "ANTHROPIC_CUSTOM_HEADERS")


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in (*CREDENTIALS, "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path_factory.mktemp("empty")))


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("demo", "demo"),
        ("claude-opus-5-5", "anthropic/claude-opus-5-5"),
        ("anthropic/claude-opus-5-5", "anthropic/claude-opus-5-5"),
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("openrouter/anthropic/claude-opus-5", "openrouter/anthropic/claude-opus-5"),
    ],
)
def test_a_name_has_one_canonical_form(name: str, full: str) -> None:
    assert registry.canonical_name(name) == full
    assert registry.canonical_name(full) == full


@pytest.mark.parametrize("name", ["", "gpt-4o", "openai/", "/gpt-4o", "anthropic/claude opus", " demo"])
def test_a_bad_name_is_quoted_with_the_accepted_forms(name: str) -> None:
    with pytest.raises(SettingsError, match=r"accepted are 'anthropic/<model>'.*'demo'") as caught:
        registry.resolve_model(name)
    assert repr(name) in str(caught.value)


def test_resolving_imports_no_sdk() -> None:
    script = (
        "import sys; from pytest_promptopt.models.registry import check_credentials, resolve_model\n"
        "resolve_model('claude-opus-5-5'), resolve_model('openai/gpt-4o')\n"
        "check_credentials('claude-opus-5-5')\n"
        "import pytest_promptopt.models.client\n"
        "assert not {'anthropic', 'litellm', 'openai', 'httpx2'} & sys.modules.keys()\n"
    )
    environment = {"ANTHROPIC_API_KEY": "x" * 20, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env=environment)


def test_without_litellm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"'openai/gpt-4o'.*pytest-promptopt\[litellm\]"):
        registry.resolve_model("openai/gpt-4o")


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("claude-opus-5-5", "ANTHROPIC_API_KEY"),
        ("claude-opus-5-5", "ANTHROPIC_AUTH_TOKEN"),
        ("openai/gpt-4o", "OPENAI_API_KEY"),
        ("gemini/gemini-3-pro", "GOOGLE_API_KEY"),
    ],
)
def test_missing_credentials_are_named_before_the_first_call(
    monkeypatch: pytest.MonkeyPatch, name: str, variable: str
) -> None:
    with pytest.raises(ModelError, match=variable) as caught:
        registry.check_credentials(name)
    assert caught.value.kind is ErrorKind.AUTHENTICATION
    monkeypatch.setenv(variable, "something")
    registry.check_credentials(name)


@pytest.mark.usefixtures("no_credentials")
def test_models_without_keys_pass() -> None:
    registry.check_credentials("demo")
    registry.check_credentials("ollama/llama3")


def test_the_default_optimizer_model_is_listed_by_the_sdk() -> None:
    from anthropic.types import Model

    listed = {name for part in get_args(Model) for name in get_args(part)}
    provider, _, model = DEFAULT_OPTIMIZER_MODEL.partition("/")
    assert provider == "anthropic"
    assert model in listed
    assert claude_price(model, Request(DEFAULT_OPTIMIZER_MODEL, ())) is not None


def test_prices_follow_model_and_length() -> None:
    short = Request("anthropic/claude-haiku-5-5", (Message("user", "hi"),))
    long = Request("anthropic/claude-haiku-5-5", (Message("user", "x" * 100_001),))
    assert price_of(short) == Price(0.1, 0.5, 0.01, 0.125)
    assert price_of(long) == Price(0.5, 2.5, 0.05, 0.625)
    assert claude_price("claude-haiku-5-5", long, Usage(50_000, 5)) == price_of(short)
    assert price_of(Request("anthropic/claude-unheard-of", ())) is None
    assert price_of(Request("demo", ())) == Price(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("parameters", "price"),
    [
        ({"speed": "fast"}, None),
        ({"extra_body": {"speed": "fast"}}, None),
        ({"cache_control": {"type": "ephemeral"}}, Price(4, 20, 0.2, 5)),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, Price(4, 20, 0.2, 8)),
    ],
)
def test_parameters_that_cost_more_are_priced_or_make_the_price_unknown(
    parameters: dict[str, Any], price: Price | None
) -> None:
    assert price_of(Request("anthropic/claude-opus-5-5", (), parameters=parameters)) == price


def test_a_long_schema_counts_as_input() -> None:
    schema = {"description": "x" * 100_001}
    assert price_of(Request("anthropic/claude-haiku-5-5", (), response_schema=schema)) == Price(
        0.5, 2.5, 0.05, 0.625
    )


def test_a_price_of_litellm_follows_the_length_of_the_input_too() -> None:
    pytest.importorskip("litellm")
    short, long = (Request("gemini/gemini-2.5-pro", (Message("user", "x" * n),)) for n in (10, 200_001))
    below, above = price_of(short), price_of(long)
    assert below is not None
    assert above is not None
    assert astuple(above) > astuple(below)
    assert above.output > below.output
    assert price_of(replace(short, parameters={"service_tier": "priority"})) is None
    assert price_of(replace(short, model="openai/no-such-model")) is None


@pytest.mark.parametrize(
    ("model", "dearest"),
    [
        ("dashscope/qwen-plus-2025-04-28", "output_cost_per_reasoning_token"),
        ("gemini/gemini-3.1-flash-image-preview", "output_cost_per_image_token"),
    ],
)
def test_an_answer_is_bounded_by_the_dearest_that_it_may_hold(model: str, dearest: str) -> None:
    pytest.importorskip("litellm")
    listed = import_litellm().model_cost[model]
    price = price_of(Request(model, ()))
    assert price is not None
    assert price.output == pytest.approx(1e6 * listed[dearest])
    assert listed[dearest] > listed["output_cost_per_token"]


@pytest.mark.parametrize(
    "model",
    [
        "perplexity/sonar",
        "perplexity/sonar-deep-research",
        "perplexity/pplx-70b-online",
        "gpt-4o-search-preview",
    ],
)
def test_a_model_that_bills_more_than_tokens_has_no_known_price(model: str) -> None:
    """Searches that nobody asked for, sources, a fee for each call; others search when they are told to."""
    pytest.importorskip("litellm")
    assert import_litellm().model_cost[model]["output_cost_per_token"] > 0
    asked = Request(f"openai/{model}" if "/" not in model else model, ())
    assert price_of(asked) is None
    assert application_price(asked) is None


@pytest.mark.parametrize("model", ["openai/gpt-4o", "gemini/gemini-2.5-flash", "anthropic/claude-haiku-4-5"])
def test_an_application_pays_what_the_fixture_pays(model: str) -> None:
    pytest.importorskip("litellm")
    price = price_of(Request(model, ()))
    assert price is not None
    assert application_price(Request(model, ())) == price


def test_listed_prices_are_those_of_litellm() -> None:
    pytest.importorskip("litellm")
    listed = import_litellm().model_cost
    counters = ("input", "output", "cache_read_input", "cache_creation_input")
    for prices, tier in ((_PRICES, ""), (_LONG_PRICES, "_above_100k_tokens")):
        for model, price in prices.items():
            theirs = [
                1e6 * listed[model][f"{c}_cost_per_token{tier}" if "_" not in c else f"{c}_token_cost{tier}"]
                for c in counters
            ]
            assert astuple(price) == pytest.approx(theirs), model
            hour = listed[model][f"cache_creation_input_token_cost_above_1hr{tier}"]
            assert 1e6 * hour == pytest.approx(2 * price.input), model


def test_every_kind_of_failure_has_a_consequence() -> None:
    assert set(CONSEQUENCES) == set(ErrorKind)
    for kind in ErrorKind:
        assert not (CONSEQUENCES[kind].retry and ModelError(kind, "x").stops_run)


@pytest.mark.parametrize(
    ("status", "retried"),
    [
        *((status, False) for status in (400, 401, 402, 403, 404, 413, 422)),
        *((status, True) for status in (408, 409, 429, 500, 502, 503, 529)),
    ],
)
def test_which_statuses_are_retried(status: int, retried: bool) -> None:
    assert CONSEQUENCES[kind_of_status(status)].retry is retried


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1", 1),
        ("3600", 3600),
        ("0.5", 0.5),
        ("0", None),
        ("-1", None),
        ("abc", None),
        ("", None),
        ("inf", None),
        ("nan", None),
        (formatdate(1030, usegmt=True), 30),
        (formatdate(900, usegmt=True), None),
        ("Wed, 99 Foo 2026", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}, now=lambda: 1000.0) == seconds


def test_milliseconds_are_preferred() -> None:
    assert retry_after({"retry-after-ms": "1500", "retry-after": "2"}) == 1.5
    assert retry_after({"retry-after-ms": "soon", "retry-after": "2"}) == 2
    assert retry_after({}) is None


@given(st.text())
def test_no_header_breaks_retry_after(value: str) -> None:
    seconds = retry_after({"retry-after": value})
    assert seconds is None or seconds > 0


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_delays_are_jittered_and_capped(attempt: int, draw: float) -> None:
    policy = RetryPolicy(random=lambda: draw)
    assert policy.delay(attempt) == draw * min(8.0, 0.5 * 2 ** (attempt - 1))


def test_messages_hold_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PROVIDER_API_KEY", "very-private-value")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Gate: hidden-header-value")
    said = "bad very-private-value\n and sk-ant-api03-abcdefghijklmnop, Bearer abc.def"
    clean = redact_secrets(f"{said}, X-Gate: hidden-header-value")
    assert clean == "bad [redacted] and [redacted], [redacted], [redacted]"
    assert len(redact_secrets("x" * 10_000)) == MAX_LENGTH


def test_ordinary_words_are_not_taken_for_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SORT_KEY", "name")
    assert (
        redact_secrets("name the risk-adjusted-return of task sk")
        == "name the risk-adjusted-return of task sk"
    )


@pytest.mark.parametrize(
    ("environment", "said", "clean"),
    [
        (
            {"X_BASE_URL": "http://bob:hunter%212@host/v1"},
            "got Basic Ym9iOmh1bnRlciEy at http://bob:hunter%212@host, user bob:hunter!2",
            "got Basic [redacted] at http://[redacted]@host, user [redacted]",
        ),
        (
            {"X_CUSTOM_HEADERS": "x-gate: s3cr3tgate0001\nx-other: 1"},
            "rejected: s3cr3tgate0001 and 1",
            "rejected: [redacted] and 1",
        ),
        ({"X_CUSTOM_HEADERS": "x-gate:s3cr3tgate0002"}, "rejected s3cr3tgate0002", "rejected [redacted]"),
        ({"A_CUSTOM_HEADERS": "Authorization: Own kj8sd7fh2"}, "Own kj8sd7fh2", "[redacted]"),
        (
            {"MY_ENDPOINT": "https://h/v1?sub=querysecret01"},
            "at /v1?sub=querysecret01",
            "at /v1?sub=[redacted]",
        ),
        ({"HTTPS_PROXY": "http://me:proxypass9@p:1"}, "with proxypass9", "with [redacted]"),
        ({"GATEWAY_AUTH": "gatewaysecret7"}, "got gatewaysecret7", "got [redacted]"),
        ({"DB_PASS": "letmein-please"}, "got letmein-please", "got [redacted]"),
        ({}, "see https://u:p@host/x?api_key=abc&n=1", "see https://[redacted]@host/x?[redacted]&n=1"),
        ({}, "Authorization: Token 9944b09199c62bcf", "Authorization: [redacted]"),
        ({}, "a basic question about the token limit", "a basic question about the token limit"),
        ({"BROKEN": "http://[::1"}, "fine", "fine"),
    ],
)
def test_parts_and_forms_of_what_is_set_are_cut_out_though_it_is_gone(
    environment: dict[str, str], said: str, clean: str
) -> None:
    remember_secrets(environment)
    assert redact_secrets(said) == clean


def test_what_a_client_sends_is_cut_out_wherever_it_has_that_from() -> None:
    remember_header_secrets(
        {"X-Api-Key": "key-of-a-profile", "Accept": "application/json", "Authorization": object()}
    )
    assert redact_secrets("application/json: key-of-a-profile") == "application/json: [redacted]"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("Missing Gemini API key."), ErrorKind.AUTHENTICATION),
        (RuntimeError("The api_key client option must be set"), ErrorKind.AUTHENTICATION),
        (RuntimeError("Missing credentials. Please pass one of ..."), ErrorKind.AUTHENTICATION),
        (RuntimeError("Missing API Key - A call is being made to fireworks"), ErrorKind.AUTHENTICATION),
        (RuntimeError("Your default credentials were not found"), ErrorKind.AUTHENTICATION),
        (RuntimeError("Unable to locate credentials"), ErrorKind.AUTHENTICATION),
        (RuntimeError("No module named 'google'"), ErrorKind.SETUP),
        (ModuleNotFoundError("boto3"), ErrorKind.SETUP),
        (RuntimeError("LLM Provider NOT provided. Pass in the provider"), ErrorKind.SETUP),
        (RuntimeError("You must specify a region."), ErrorKind.SETUP),
        (RuntimeError("api_version is required"), ErrorKind.SETUP),
        (ConnectionResetError("Connection reset by peer"), None),
        (RuntimeError("the reply is no JSON"), None),
    ],
    ids=str,
)
def test_what_went_wrong_before_anything_was_sent_is_told_from_the_rest(
    error: Exception, kind: ErrorKind | None
) -> None:
    assert kind_of_unsent_error(error) is kind
    if kind is not None:
        assert not CONSEQUENCES[kind].retry
        assert not CONSEQUENCES[kind].charged


def test_an_environment_that_another_thread_changes_is_read_all_the_same() -> None:
    class Changing(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            raise KeyError(name)

        def get(self, name: str, default: Any = None) -> Any:
            self.pop("CURRENT", None)
            return super().get(name, default)

    remember_secrets(Changing(SOME_KEY="changing-secret-1", CURRENT="x"))
    assert redact_secrets("got changing-secret-1") == "got [redacted]"
