"""How tests look at the pages about runs: over HTTP, and in a real browser where there is one."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
import requests

from tests.end_to_end.stage import Stage

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

type TakePicture = Callable[[str], None]

# Where pictures for the documents go, if somebody wants them: ``dev.py screenshots``.
PICTURES: Final = "SCREENSHOTS_FOLDER"
KEY: Final = {"x-functions-key": "the-function-key"}
# The keys that docs/setup.md tells people to set, each for its functions; KEY is one of the host and opens them all.
GRAPH_KEY: Final = "0a" * 32
VIEW_KEY: Final = "0b" * 32
ACT_KEY: Final = "0c" * 32
KEYS: Final = {"GRAPH_KEY": GRAPH_KEY, "VIEW_KEY": VIEW_KEY, "ACT_KEY": ACT_KEY}
TIMEOUT_S: Final = 30


def get(stage: Stage, path: str, **headers: str) -> requests.Response:
    return requests.get(f"{stage.host_url}{path}", headers={**KEY, **headers}, timeout=TIMEOUT_S)


def listed(stage: Stage, file_name: str) -> dict[str, Any] | None:
    """Return what the list tells of the newest run of a file."""
    shown = get(stage, f"/api/runs.json?text={file_name}").json()
    runs = [line["run"] for line in (*shown["under_way"], *shown["ended"])]
    return next((run for run in runs if run["file_name"] == file_name), None)


def new_browser() -> "Chrome":
    """Return a real browser without a window; skips the test where there is none.

    ``apt-get install chromium chromium-driver`` brings one on Debian.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("there is no Chromium with its driver on PATH")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = chromium
    # Containers give no user namespaces for the sandbox, and little /dev/shm.
    for switch in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1200,1000",
    ):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(driver))
    browser.set_page_load_timeout(TIMEOUT_S)
    return browser


def until[T](browser: "Chrome", look: Callable[["Chrome"], T]) -> T:
    """Wait until the page shows it; elements that were replaced meanwhile are looked for again."""
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    ignored = (NoSuchElementException, StaleElementReferenceException)
    return WebDriverWait(browser, TIMEOUT_S, ignored_exceptions=ignored).until(look)


def shown[T](browser: "Chrome", look: Callable[["Chrome"], T]) -> T:
    """Return what the page shows now; read anew if it renews itself meanwhile."""
    return until(browser, lambda page: (look(page),))[0]


def text_of(browser: "Chrome", selector: str) -> str:
    """Return the text of the first element of a CSS selector, as the page shows it now."""
    return shown(browser, lambda page: page.find_element("css selector", selector).text)


def click(browser: "Chrome", by: str, value: str) -> None:
    """Click an element once it is there; it is looked for again if the page renews itself just then."""

    def find_and_click(page: "Chrome") -> bool:
        page.find_element(by, value).click()
        return True

    until(browser, find_and_click)


def rows(browser: "Chrome") -> list[list[str]]:
    """Return badge, file and last column of every run that the list shows."""
    return shown(
        browser,
        lambda page: [
            [row.find_element("css selector", each).text for each in (".badge", "th a", "td:last-child")]
            for row in page.find_elements("css selector", "#lists tbody tr")
        ],
    )


def open_list(browser: "Chrome", stage: Stage, query: str = "", *, key: str = KEY["x-functions-key"]) -> None:
    browser.get(f"{stage.host_url}/api/runs?code={key}{query}")


def click_run(browser: "Chrome", file_name: str) -> None:
    """Open a run from the list, as a person does; its page is there when its heading is."""
    click(browser, "link text", file_name)
    until(browser, lambda page: page.find_element("css selector", "#run h1").text == file_name)


@contextmanager
def an_hour_of_work(stage: Stage) -> Iterator[None]:
    """Let F&O work for an hour on what is submitted while the block runs."""
    usual_s = stage.finance_operations.speed.seconds_per_execution
    stage.finance_operations.change(seconds_per_execution=3600.0)
    try:
        yield
    finally:
        stage.finance_operations.change(seconds_per_execution=usual_s)
