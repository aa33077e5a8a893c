"""The web page: who may see it over HTTP, and what a real browser shows."""

from __future__ import annotations

import base64
import json
import math
import shutil

import pytest
import requests

KEYS = ("train/loss", "train/accuracy", "validation/loss")


def write_run(server, project, run_id, rows, *, name=None, config=None, exit_code=0):
    """A run written through the server's own endpoints."""
    auth = ("api", server.api_key)
    query = (
        "mutation UpsertBucket($name: String, $project: String, $entity: String, $displayName: String,"
        " $config: JSONString) { upsertBucket(input: {name: $name, modelName: $project, entityName: $entity,"
        " displayName: $displayName, config: $config}) { bucket { id } } }"
    )
    wrapped = {key: {"value": value} for key, value in (config or {}).items()}
    answer = requests.post(
        f"{server.url}/graphql",
        json={
            "query": query,
            "variables": {
                "name": run_id, "project": project, "entity": server.entity, "displayName": name or run_id,
                "config": json.dumps(wrapped),
            },
        },
        auth=auth,
        timeout=10,
    )  # fmt: skip
    assert "errors" not in answer.json(), answer.text
    body = {
        "files": {
            "wandb-history.jsonl": {"offset": 0, "content": [json.dumps(row) for row in rows]},
            "wandb-summary.json": {"offset": 0, "content": [json.dumps(rows[-1] if rows else {})]},
        },
        "complete": True,
        "exitcode": exit_code,
    }
    stream = f"{server.url}/files/{server.entity}/{project}/{run_id}/file_stream"
    assert requests.post(stream, json=body, auth=auth, timeout=10).ok


@pytest.fixture(scope="module")
def site(wandb_server_session):
    """A server with one project of two runs, one of them hostile in its names."""
    for number, run_id in enumerate(("one", "two")):
        rows = [
            {
                "_step": step, "_timestamp": 1000 + step, "_runtime": step, "global_step": step * 10,
                "train/loss": 1 / (step + 1 + number), "train/accuracy": 1 - 1 / (step + 2),
                "validation/loss": math.nan if step == 3 else 2 / (step + 1), "word": "text",
            }
            for step in range(40)
        ]  # fmt: skip
        write_run(
            wandb_server_session, "pages", run_id, rows, name=f"<img src=x onerror=alert({number})>",
            config={"lr": 0.1, "nested": {"depth": 3}}, exit_code=number,
        )  # fmt: skip
    write_run(wandb_server_session, "empty-history", "r", [])
    return wandb_server_session


@pytest.fixture
def session(site):
    """An HTTP session that went through the login."""
    made = requests.Session()
    made.get(f"{site.url}/login", params={"key": site.api_key}, timeout=10)
    yield made
    made.close()


PAGES = ["/", "/{e}", "/{e}/pages", "/{e}/pages/charts.json", "/{e}/pages/runs/one", "/{e}/launch"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("cookie", [None, "", "9999999999.00", "1.abc", "x" * 5000])
def test_without_the_key_every_page_leads_to_the_login(site, path, cookie):
    cookies = {} if cookie is None else {"wandb_ops_page": cookie}
    answer = requests.get(
        site.url + path.format(e=site.entity), cookies=cookies, timeout=10, allow_redirects=False
    )
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/login?next=/")


@pytest.mark.parametrize("path", PAGES)
def test_with_the_key_every_page_is_there(site, session, path):
    answer = session.get(site.url + path.format(e=site.entity), timeout=10)
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert site.api_key not in answer.text


def test_a_wrong_key_opens_nothing(site):
    answer = requests.post(f"{site.url}/login", data={"key": "0" * 40}, timeout=10, allow_redirects=False)
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("target", ["https://example.com/", "//example.com/", "/\\example.com"])
def test_the_login_sends_nobody_to_another_site(site, target):
    answer = requests.post(
        f"{site.url}/login", params={"next": target}, data={"key": site.api_key}, timeout=10,
        allow_redirects=False,
    )  # fmt: skip
    assert answer.headers["Location"] == "/"


@pytest.mark.parametrize(
    "path", ["/nobody/pages", "/{e}/nothing", "/{e}/pages/runs/none", "/{e}/pages/runs/one/files/x"]
)
def test_what_does_not_exist_is_said_so(site, session, path):
    answer = session.get(site.url + path.format(e=site.entity), timeout=10)
    assert answer.status_code == 404
    assert "Not here" in answer.text


def test_names_from_clients_are_text_and_never_markup(site, session):
    for path in (f"/{site.entity}/pages", f"/{site.entity}/pages/runs/one"):
        assert "<img src=x" not in session.get(site.url + path, timeout=10).text


def test_the_charts_hold_what_was_logged(site, session):
    answer = session.get(f"{site.url}/{site.entity}/pages/charts.json", params={"run": "two"}, timeout=10)
    (run,) = answer.json()["runs"]
    assert (run["id"], run["rows"], run["shown"]) == ("two", 40, 40)
    curve = run["curves"]["validation/loss"]
    assert curve["y"] == [None if step == 3 else 2 / (step + 1) for step in range(40)]
    assert curve["global_step"] == [step * 10 for step in range(40)]
    assert curve["time"] == list(range(40))
    assert sorted(run["curves"]) == sorted(KEYS)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, driven through its own driver."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium with chromedriver on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--window-size=1300,1000",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield made
    made.quit()


@pytest.mark.browser
def test_a_person_logs_in_and_sees_runs_and_charts(site, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, 15)
    browser.get(f"{site.url}/{site.entity}/pages")
    browser.find_element(By.NAME, "key").send_keys(site.api_key)
    browser.find_element(By.TAG_NAME, "button").click()
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".charts[data-ready]"))
    assert browser.current_url == f"{site.url}/{site.entity}/pages"
    assert len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 2
    cards = browser.find_elements(By.CSS_SELECTOR, ".chart")
    assert sorted(card.get_attribute("data-key") for card in cards) == sorted(KEYS)
    assert all(len(card.find_elements(By.CSS_SELECTOR, "path")) == 2 for card in cards)
    browser.execute_script("document.querySelector('[name=log]').click()")
    browser.execute_script(
        "const s = document.querySelector('[name=smooth]'); s.value = 0.8;"
        " s.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    assert len(browser.find_elements(By.CSS_SELECTOR, ".chart path.raw")) == 2 * len(KEYS)
    browser.find_element(By.CSS_SELECTOR, "tbody a").click()
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".charts[data-ready]"))
    assert "nested.depth" in browser.find_element(By.TAG_NAME, "main").text
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert base64.b64decode(browser.get_screenshot_as_base64()).startswith(b"\x89PNG")


@pytest.mark.browser
def test_a_run_without_history_says_so(site, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{site.url}/login?key={site.api_key}&next=/{site.entity}/empty-history/runs/r")
    WebDriverWait(browser, 15).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".charts[data-ready]"))
    assert "No numbers have been logged" in browser.find_element(By.CSS_SELECTOR, ".charts").text
