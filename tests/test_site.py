"""The site in a real browser, on a desk and a phone: no error, nothing wider than the screen, no dead link."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
BROWSER = os.environ.get("POSEZOO_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
PAGES = [
    *("", "tutorial/", "gallery/", "results/", "changelog/", "notebooks/understand-a-report/", "faq/", "migration/"),
    *("citing/", "guides/data/", "plugins/", "reference/api/", "LOG/"),
]
WHOLE = "[...document.querySelectorAll(':is(p, li) > code')].filter(e => e.textContent.match(/^\\S{1,34}$/))"
TABLES = "[...document.querySelectorAll('table:has(th:nth-child(4)) tbody tr')]"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the site, built and served here."""
    pytest.importorskip("mkdocs", reason="pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if BROWSER is None:
        pytest.skip("no chromium: apt install chromium, or POSEZOO_CHROMIUM=/path/to/it")
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])  # tests may run as root
        yield found
        found.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages(site: str, browser: Any, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("response", lambda answer: problems.append(answer.url) if answer.status >= 400 else None)
    page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(site) else route.abort())
    for path in PAGES:
        page.goto(site + path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{path} is {wide} pixels wide"
        names = "[...document.querySelectorAll('td code')]"
        broken = page.evaluate(f"{names}.filter(e => e.getClientRects().length > 1).map(e => e.textContent)")
        assert broken == [], f"{path}: names in tables are broken"
        broken = page.evaluate(f"{WHOLE}.filter(e => e.getClientRects().length > 1).map(e => e.textContent)")
        assert broken == [], f"{path}: names in sentences are broken"
        narrow = page.evaluate(f"{TABLES}.filter(row => row.getBoundingClientRect().height > 220).length")
        assert not narrow, f"{path}: {narrow} rows of tables are towers of words"
    # versions.json comes from mike, when a version is deployed
    own = [text for text in problems if not any(word in text for word in ("github", "ERR_FAILED", "versions.json"))]
    assert [text for text in own if "status of 404" not in text] == []
    page.close()


def test_no_link_within_the_site_is_dead(site: str, browser: Any) -> None:
    page, seen, waiting = browser.new_page(), set(), [site]
    while waiting:
        address = waiting.pop()
        seen.add(address)
        answer = page.request.get(address)
        assert answer.status == 200, address
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        page.set_content(answer.text(), wait_until="commit")
        links = page.evaluate("[...document.querySelectorAll('a[href]')].map(e => e.getAttribute('href'))")

        for link in links:
            target = urllib.parse.urldefrag(urllib.parse.urljoin(address, link))[0]
            if target.startswith(site) and target not in seen and target not in waiting:
                waiting.append(target)
    assert len(seen) > 40
    page.close()


def test_names_of_other_projects_are_links(site: str, browser: Any) -> None:
    page = browser.new_page()
    page.set_content(page.request.get(site + "reference/model/").text(), wait_until="commit")
    links = set(page.evaluate("[...document.querySelectorAll('a[href^=https]')].map(e => e.getAttribute('href'))"))
    assert "https://docs.pytorch.org/docs/stable/tensors.html#torch.Tensor" in links
    page.close()


def test_search_finds(site: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(site) else route.abort())
    page.goto(site)
    page.click(".md-search__input")
    page.keyboard.type("fine-tune")
    page.wait_for_selector(".md-search-result__item", timeout=20_000)
    found = page.evaluate("[...document.querySelectorAll('.md-search-result__link')].map(e => e.href)")
    assert any("guides/settings" in link for link in found), found
    page.close()


@pytest.mark.parametrize(("scheme", "shown"), [("light", "where-light"), ("dark", "where-dark")])
def test_pictures_suit_the_page(site: str, browser: Any, scheme: str, shown: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(site) else route.abort())
    page.goto(site)
    visible = "[...document.querySelectorAll('img')].filter(e => e.offsetParent).map(e => e.src)"
    assert [shown in source for source in page.evaluate(visible) if "where-" in source] == [True]
    page.close()
