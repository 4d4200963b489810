"""The live page in a real browser, beside a real server: what it shows, how it keeps up, and how a session is ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon, log_in
from ports import free_port
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from streams import eventually

from ftpsvc import operatortoken

#: A name that would do something in a page that took it for more than a name.
HOSTILE = "<img src=x onerror=document.title=1>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium. A missing one is a skip; where CI runs, it has to be there."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium and chromium-driver are not installed")
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for one in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1100,1400",
    ):
        options.add_argument(one)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


class Site:
    """A server with a page, which sends fifty thousand bytes a second."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.monitor = free_port()
        state = folder / "state"
        self.token = operatortoken.ensure(state).reveal()
        options = ("--session-rate-down", "50k", "--monitor", str(self.monitor), "--state", str(state))
        self.daemon = Daemon(self.root, *options)
        self.port = self.daemon.serving()
        self.url = f"http://127.0.0.1:{self.monitor}/"

    @contextlib.contextmanager
    def downloading(self, name: str) -> Iterator[None]:
        """A client in the middle of a download."""
        (self.root / name).write_bytes(bytes(20_000_000))
        with log_in(self.port) as client:
            client.voidcmd("TYPE I")
            with client.transfercmd(f"RETR {name}") as data, contextlib.closing(client):
                data.recv(1000)
                yield


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.daemon.close()


def text(browser: Any) -> str:
    found: str = browser.find_element(By.TAG_NAME, "body").text
    return found


def complaints(browser: Any, site: Site) -> list[str]:
    """What the browser had to say against the page: scripts that failed, things that the policy kept out.

    The page of the test before may have had more to say, when its server was gone.
    """
    said = [entry["message"] for entry in browser.get_log("browser") if entry["level"] != "INFO"]
    return [message for message in said if site.url in message]


def test_the_page_keeps_up_by_itself_and_a_hostile_name_is_a_name(browser: Any, site: Site) -> None:
    browser.get(site.url)
    assert "0 sessions, 0 transfers." in text(browser)
    with site.downloading(HOSTILE):
        eventually(lambda: f"/{HOSTILE}" in text(browser))
        assert "1 session, 1 transfer." in text(browser)
        progress = browser.find_element(By.TAG_NAME, "progress")
        before = progress.get_property("value")
        eventually(lambda: progress.get_property("value") > before)  # the same element: it was not made anew
        assert not browser.find_elements(By.TAG_NAME, "img")
    eventually(lambda: "0 sessions, 0 transfers." in text(browser))
    eventually(lambda: "aborted" in text(browser))
    assert browser.title == f"ftpsvc on {socket.gethostname()}"
    assert complaints(browser, site) == []


def test_who_has_the_token_ends_a_session(browser: Any, site: Site) -> None:
    with log_in(site.port) as idle, site.downloading("film"):
        browser.get(site.url)
        button = browser.find_element(By.CSS_SELECTOR, "button[data-end='1']")
        button.click()
        assert "Type the operator's token first" in text(browser)
        field = browser.switch_to.active_element
        assert field.get_attribute("id") == "token"
        field.send_keys("wrong")
        button.click()
        browser.switch_to.alert.accept()
        eventually(lambda: "That is not the operator's token" in text(browser))
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(site.token)
        button.click()
        browser.switch_to.alert.dismiss()
        button.click()
        assert browser.switch_to.alert.text == "End session 1 of anonymous? A transfer is cut."
        browser.switch_to.alert.accept()
        eventually(lambda: "Session 1 (anonymous from 127.0.0.1:" in text(browser))
        eventually(lambda: not browser.find_elements(By.CSS_SELECTOR, "button[data-end='1']"))
        assert browser.find_elements(By.CSS_SELECTOR, "button[data-end='2']")
        assert idle.sock is not None
        assert idle.sock.recv(100) == b"421 An operator has ended this session.\r\n"
        idle.close()
    assert all("401" in complaint for complaint in complaints(browser, site))


def test_a_button_keeps_the_focus_while_the_page_changes(browser: Any, site: Site) -> None:
    with log_in(site.port), log_in(site.port) as second:
        browser.get(site.url)
        browser.execute_script("document.querySelector(\"button[data-end='1']\").focus()")
        second.quit()
        with log_in(site.port):
            eventually(lambda: browser.find_elements(By.CSS_SELECTOR, "button[data-end='3']"))
            assert not browser.find_elements(By.CSS_SELECTOR, "button[data-end='2']")
            assert browser.switch_to.active_element.get_attribute("data-end") == "1"


def test_a_server_that_is_gone_is_told_of(browser: Any, site: Site) -> None:
    browser.get(site.url)
    assert "0 sessions" in text(browser)
    site.daemon.ended()
    eventually(lambda: "The server doesn't answer. What is shown is from" in text(browser))
    assert "0 sessions" in text(browser)


def test_a_phone_shows_all_of_it_without_moving_sideways(browser: Any, site: Site) -> None:
    metrics = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        with site.downloading("a-rather-long-name-that-has-no-space-at-which-a-line-could-end-" * 3):
            browser.get(site.url)
            browser.find_element(By.TAG_NAME, "progress")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
            for region in browser.find_elements(By.CSS_SELECTOR, ".wide"):
                assert region.get_property("scrollWidth") <= region.get_property("clientWidth")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_screen_reader_finds_tables_with_captions_and_what_buttons_are_for(browser: Any, site: Site) -> None:
    browser.get(site.url)
    with site.downloading("film"), log_in(site.port):
        eventually(lambda: len(browser.find_elements(By.TAG_NAME, "button")) == 2)
        nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        found = {
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        }
        assert ("table", "Under way") in found
        assert ("button", "End session 1 of anonymous") in found
        assert ("textbox", "Operator's token") in found
        assert ("rowheader", "/film") in found
        assert any(role == "image" and name.startswith("Throughput of the last 60 minutes") for role, name in found)
        assert {"status", "main", "heading", "progressbar", "columnheader", "cell"} <= {role for role, _ in found}
