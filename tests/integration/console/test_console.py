"""The page in a real Chromium, on a real API, worker and controller."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.integration.cli.stack import Stack

from longhaul.client import Client

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENSHOT = Path(__file__).parents[3] / "build" / "console.png"
LONG = 20_000
"""Milliseconds that a job may take to begin, with two cores and much else to do."""

pytestmark = pytest.mark.skipif(
    not Path(CHROMIUM).exists(), reason="the page is tried in Chromium: install it, or name one in CHROMIUM"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield one
        one.close()


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """The page, opened. Anything that it writes to the browser's console, or that its policy blocks, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    one = context.new_page()
    complaints: list[str] = []
    one.on("pageerror", lambda error: complaints.append(str(error)))
    one.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    one.goto(stack.url)
    expect(one.get_by_label("Task", exact=True)).to_have_value(re.compile("."))
    yield one
    context.close()
    # Chromium reports requests that were refused or lost; the page tells those to people.
    assert [text for text in complaints if not text.startswith("Failed to load resource")] == []


def submit(page: Page, **fields: str) -> None:
    page.get_by_label("Task", exact=True).select_option("demo.sleep")
    for name, value in fields.items():
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_role("button", name="Submit").click()


def test_a_job_is_submitted_from_the_schema_and_followed_live(page: Page) -> None:
    submit(page, seconds="3", steps="12", log_lines="2", payload='["<b>&amp;</b>"]')
    state = page.locator("#job-state")
    expect(state).to_have_text("running", timeout=LONG)
    bar = page.get_by_role("progressbar", name="Progress")
    half_way = (
        'bar => bar.value > 0.3 && bar.value < 1 && document.querySelector("#job-state").textContent === "running"'
    )
    page.wait_for_function(f"() => ({half_way})(document.querySelector('#progress'))", timeout=LONG)
    timeline = page.locator("#timeline")
    expect(timeline).to_contain_text("Attempt 1 started on")
    expect(timeline).to_contain_text("Line 2 of 2.")
    page.get_by_role("button", name="Light or dark").click()
    SCREENSHOT.parent.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOT.with_stem("console-dark"), full_page=True)
    page.get_by_role("button", name="Light or dark").click()
    page.screenshot(path=SCREENSHOT, full_page=True)
    expect(state).to_have_text("succeeded", timeout=LONG)
    expect(bar).to_have_js_property("value", 1)
    # Text of others stays text.
    expect(page.locator("#result")).to_contain_text("<b>&amp;</b>")
    assert page.locator("#result b, #params b").count() == 0
    expect(page.locator("#announcer")).to_have_text("demo.sleep: Succeeded")
    page.screenshot(path=SCREENSHOT.with_stem("console-done"), full_page=True)


def test_a_running_job_is_cancelled(page: Page) -> None:
    submit(page, seconds="60")
    expect(page.locator("#job-state")).to_have_text("running", timeout=LONG)
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator("#job-state")).to_have_text("cancelled", timeout=LONG)
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_hidden()
    expect(page.locator("#timeline")).to_contain_text("Asked to stop")


def test_a_failed_job_says_why_and_is_replayed(page: Page) -> None:
    page.get_by_label("Task", exact=True).select_option("demo.sleep")
    page.get_by_label("permanent", exact=True).check()
    submit_button = page.get_by_role("button", name="Submit")
    page.get_by_label("seconds", exact=True).fill("0")
    submit_button.click()
    expect(page.locator("#job-state")).to_have_text("failed", timeout=LONG)
    expect(page.locator("#message")).not_to_have_text("")
    first = page.url
    page.get_by_role("button", name="Replay", exact=True).click()
    expect(page.locator("#facts")).to_contain_text("Replay of")
    assert page.url != first


def test_what_does_not_fit_is_said_at_its_field(page: Page) -> None:
    page.get_by_label("Task", exact=True).select_option("demo.sleep")
    page.locator("summary", has_text="Params as JSON").click()
    page.get_by_label("Params as JSON, instead").fill('{"steps": 0, "nonsense": true}')
    page.get_by_role("button", name="Submit").click()
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("do not fit the task's schema")
    expect(problem).to_contain_text("nonsense")
    steps = page.get_by_label("steps", exact=True)
    expect(steps).to_have_attribute("aria-invalid", "true")
    expect(steps).to_be_focused()
    page.get_by_label("Params as JSON, instead").fill("{")
    page.get_by_role("button", name="Submit").click()
    expect(problem).to_contain_text("no JSON")


def test_the_list_is_kept_up_to_date_and_used_by_keyboard(page: Page, stack: Stack) -> None:
    with Client(stack.url) as client:
        job = client.submit("demo.echo", {"payload": "from elsewhere"})
        client.wait(job.id, 20)
    entry = page.locator(f'#jobs button[data-id="{job.id}"]')
    expect(entry).to_contain_text("succeeded", timeout=10_000)
    entry.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#result")).to_contain_text("from elsewhere")
    expect(entry).to_have_attribute("aria-current", "true")
    page.reload()
    expect(page.locator("#facts")).to_contain_text(str(job.id))
    page.get_by_label("Show").select_option("dead")
    expect(page.locator("#no-jobs")).to_have_text("No job is dead.")


def test_a_lost_api_is_told_and_the_stream_goes_on_after_it(page: Page, stack: Stack) -> None:
    submit(page, seconds="5", steps="25")
    expect(page.locator("#job-state")).to_have_text("running", timeout=LONG)
    stack.restart_api()
    expect(page.locator("#job-state")).to_have_text("succeeded", timeout=LONG)
    numbers = page.locator("#timeline li", has_text="started on").count()
    assert numbers == 1
    expect(page.get_by_role("alert")).to_be_hidden(timeout=10_000)


def test_the_page_loads_nothing_from_elsewhere_and_allows_nothing(stack: Stack, page: Page) -> None:
    answer = page.request.get(stack.url)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_it_fits_a_telephone_in_the_dark(browser: Browser, stack: Stack) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")
    one = context.new_page()
    one.goto(stack.url)
    expect(one.get_by_label("Task", exact=True)).to_have_value(re.compile("."))
    assert one.evaluate("document.documentElement.scrollWidth <= innerWidth")
    one.screenshot(path=SCREENSHOT.with_stem("console-telephone"), full_page=True)
    context.close()
