"""X89-X92: which key, which server, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from wandb_ops.errors import CredentialsError, UsageError
from wandb_ops.settings import DEFAULT_BASE_URL, Settings, resolve

OTHER_KEY = "0ther" + "9" * 35


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one's own, with no NETRC variable."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def write_settings(path: Path, **values: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[default]\n" + "".join(f"{name} = {value}\n" for name, value in values.items()))


def write_netrc(home: Path, text: str) -> None:
    (home / ".netrc").write_text(text)
    (home / ".netrc").chmod(0o600)


def test_each_source_yields_to_the_one_before_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X92: argument, environment, settings file, netrc; and each is remembered."""
    sources: list[tuple[str, str]] = []

    def note(**arguments: str) -> None:
        found = resolve(**arguments)  # type: ignore[arg-type]
        sources.append((found.key_source, found.api_key[0]))

    write_netrc(home, f"machine api.wandb.ai login user password {'n' * 40}\n")
    note()
    write_settings(home / ".config" / "wandb" / "settings", api_key="g" * 40)
    note()
    write_settings(home / "work" / "wandb" / "settings", api_key="l" * 40)
    note()
    monkeypatch.setenv("WANDB_API_KEY", "e" * 40)
    note()
    note(api_key="a" * 40)
    assert [key for _, key in sources] == ["n", "g", "l", "e", "a"]
    assert sources[0][0] == f"netrc {home / '.netrc'}"
    assert sources[1][0] == f"settings file {home / '.config' / 'wandb' / 'settings'}"
    assert [source for source, _ in sources[3:]] == ["WANDB_API_KEY", "argument"]


def test_who_hands_the_key_on_can_say_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"key_source": "the vault"}
    assert resolve(named, api_key="a" * 40).key_source == "the vault"
    with pytest.raises(CredentialsError, match="from the vault is empty"):
        resolve(named, api_key="")
    monkeypatch.setenv("WANDB_API_KEY", "e" * 40)
    assert resolve(named).key_source == "WANDB_API_KEY"  # no key was handed on


def test_address_and_defaults_follow_the_same_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X92."""
    monkeypatch.setenv("WANDB_API_KEY", "e" * 40)
    found = resolve()
    assert (found.base_url, found.base_url_source) == (DEFAULT_BASE_URL, "default")
    assert (found.entity, found.project, found.timeout) == (None, None, 300.0)
    write_settings(
        home / ".config" / "wandb" / "settings", base_url="https://file.test/", entity="filed", project="p"
    )
    found = resolve()
    assert (found.base_url, found.entity, found.project) == ("https://file.test", "filed", "p")
    monkeypatch.setenv("WANDB_BASE_URL", "https://env.test")
    monkeypatch.setenv("WANDB_ENTITY", "environ")
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "19")
    found = resolve()
    assert (found.base_url, found.base_url_source) == ("https://env.test", "WANDB_BASE_URL")
    assert (found.entity, found.project, found.timeout) == ("environ", "p", 19.0)
    found = resolve({"base_url": "https://arg.test/", "username": "given"}, timeout=5)
    assert (found.base_url, found.entity, found.timeout) == ("https://arg.test", "given", 5.0)


def test_x91_netrc_of_another_account_does_not_replace_an_explicit_key(home: Path) -> None:
    """X91."""
    write_netrc(home, f"machine api.forge.coreweave.com login user password {OTHER_KEY}\n")
    assert resolve(api_key="a" * 40).api_key == "a" * 40
    assert resolve().api_key == OTHER_KEY


@pytest.mark.parametrize(
    "netrc",
    [
        "default login user password " + "d" * 40,
        "machine example.test login user password " + "x" * 40,
        "machine api.wandb.ai.evil.test login user password " + "x" * 40,
    ],
)
def test_x91_a_netrc_entry_of_another_host_is_never_sent(netrc: str, home: Path) -> None:
    """X91: not even the default entry, which holds some other service's password."""
    write_netrc(home, netrc + "\n")
    with pytest.raises(CredentialsError, match=r"no W&B API key.*no netrc entry for api.forge"):
        resolve()


def test_x91_a_netrc_with_a_port_or_a_path_of_its_own_is_found(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The embedded server's entry carries its port; NETRC names another file."""
    (tmp_path / "mine").write_text(f"machine 127.0.0.1:8080 login user password {OTHER_KEY}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "mine"))
    found = resolve({"base_url": "http://127.0.0.1:8080"})
    assert (found.api_key, found.key_source) == (OTHER_KEY, f"netrc {tmp_path / 'mine'}")


@pytest.mark.parametrize("file", [".netrc", ".config/wandb/settings"])
def test_a_broken_file_is_named_and_not_quoted(file: str, home: Path) -> None:
    """Parsers quote what they cannot read, which here is a password."""
    (home / file).parent.mkdir(parents=True, exist_ok=True)
    (home / file).write_text(f"nonsense {OTHER_KEY}\n")
    with pytest.raises(UsageError, match=file) as caught:
        resolve()
    assert OTHER_KEY not in f"{caught.value} {caught.value.args}"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "is empty"),
        ("secretsecretsecret\n", "white space"),
        (" secretsecretsecret", "white space"),
        ("secretsecret secret", "white space"),
        ("secretsecret\nX-Evil: 1", "white space"),
        ("secretsecretsecrét", "characters"),
        ("secretsecret\x00secret", "characters"),
        ("secretsecret日本語", "characters"),
        ('"secretsecretsecret"', "quotation"),
        ("'secretsecretsecret'", "quotation"),
        ("short", "only 5 characters"),
    ],
)
def test_x89_a_malformed_key_is_refused_without_being_shown(
    key: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X89: from the argument and from the environment."""
    monkeypatch.setenv("WANDB_API_KEY", key) if "\x00" not in key else None
    for arguments in ({"api_key": key}, {} if "\x00" not in key else {"api_key": key}):
        with pytest.raises(CredentialsError, match=problem) as caught:
            resolve(**arguments)  # type: ignore[arg-type]
        assert "secret" not in repr(caught.value)
        assert "short" not in repr(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "0123456789abcdef" * 2 + "01234567",
        "local-" + "a" * 40,
        "wandb_v1_" + "Ab3_" * 20,
        "x" * 500,
        "a.b-c_d" * 9,
        "a:b" * 9,
    ],
)
def test_x89_longer_and_newer_forms_of_keys_are_taken(key: str) -> None:
    """X89: keys have changed their length before."""
    assert resolve(api_key=key).api_key == key


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://wandb.corp", "unencrypted"),
        ("http://10.0.0.1:8080", "unencrypted"),
        ("https://user:s3cr@wandb.corp", "user name"),
        ("https://user@wandb.corp", "user name"),
        ("https://wandb.corp?x=1", "query"),
        ("https://wandb.corp#x", "query"),
        ("wandb.corp", "no http"),
        ("ftp://wandb.corp", "no http"),
        ("https://", "no http"),
        ("https://wandb.corp\\@evil.test", "no http"),
        ("https://wan db.corp", "no http"),
        ("https://wandb.corp:port", "malformed"),
        ("https://[::1", "malformed"),
    ],
)
def test_x90_an_address_the_key_must_not_go_to_is_refused(url: str, problem: str) -> None:
    """X90: plain http elsewhere, user names, queries, nonsense; the source is named."""
    with pytest.raises(UsageError, match=problem) as caught:
        resolve({"base_url": url}, api_key="k" * 40)
    assert "argument" in str(caught.value)
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://wandb.corp/", "https://wandb.corp"),
        ("https://wandb.corp/api/wandb//", "https://wandb.corp/api/wandb"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://bücher.test", "https://bücher.test"),
    ],
)
def test_x90_a_good_address_is_taken_without_its_slash(url: str, kept: str) -> None:
    """X90: paths, loopback, IDN."""
    assert resolve({"base_url": url}, api_key="k" * 40).base_url == kept


def test_x90_plain_http_elsewhere_must_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """X90."""
    monkeypatch.setenv("WANDB_OPS_ALLOW_HTTP", "1")
    assert resolve({"base_url": "http://wandb.corp"}, api_key="k" * 40).allow_http


@pytest.mark.parametrize(
    ("base_url", "app_url"),
    [
        ("https://api.forge.coreweave.com", "https://forge.coreweave.com/wandb"),
        ("https://api.wandb.ai", "https://wandb.ai"),
        ("https://api.wandb.corp", "https://wandb.corp"),
        ("https://api.corp.test:8443", "https://app.corp.test:8443"),
        ("https://wandb.corp.test", "https://wandb.corp.test"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_the_app_lies_where_w_and_b_puts_it(base_url: str, app_url: str) -> None:
    """By rule from the API's address."""
    assert Settings(base_url=base_url, api_key="k" * 40).app_url == app_url


def test_an_explicit_app_address_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """WANDB_APP_URL."""
    monkeypatch.setenv("WANDB_APP_URL", "https://dashboards.corp.test/")
    assert resolve(api_key="k" * 40).app_url == "https://dashboards.corp.test"


@pytest.mark.parametrize("timeout", ["0", "-1", "inf", "nan", "soon"])
def test_a_timeout_must_be_a_positive_number(timeout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for ever by accident."""
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", timeout)
    with pytest.raises(UsageError, match="timeout"):
        resolve(api_key="k" * 40)


def test_an_unknown_override_is_an_error() -> None:
    """A typo must not fall back to a default in silence."""
    with pytest.raises(UsageError, match="Unknown settings: entitty"):
        resolve({"entitty": "x"}, api_key="k" * 40)
