"""The page in a real browser: what it shows, what it does, and what it does not do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import Watched, launched, watched
from pages import HOSTILE, garden, hostile
from playwright.sync_api import Browser, Page, expect

from webds.tools.report import ReportOptions, gather, render, write_report

expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    write_report(render(gather(garden(folder))), str(folder / "report.html"))
    return folder / "report.html"


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evil")
    options = ReportOptions(title=HOSTILE)
    write_report(render(gather(hostile(folder), options)), str(folder / "report.html"))
    return folder / "report.html"


@pytest.fixture
def desk(browser: Browser, good: Path) -> Iterator[Watched]:
    with watched(browser, good) as found:
        yield found
        assert found.said == []
        assert found.asked == []


def shown_keys(page: Page) -> list[str]:
    return page.locator(".card:visible h3").all_inner_texts()


def widths(page: Page, selector: str) -> list[int]:
    """Return the widths of pictures, decoded, in their own pixels."""
    script = "images => Promise.all(images.map(image => image.decode().then(() => image.naturalWidth)))"
    found: list[int] = page.locator(selector).evaluate_all(script)
    return found


def violations(page: Page) -> list[str]:
    response: dict[str, Any] = Axe().run(page).response
    return [f"{found['id']}: {found['nodes'][0]['html'][:200]}" for found in response["violations"]]


def test_all_there_is_to_see_is_there(desk: Watched) -> None:
    page = desk.page
    expect(page).to_have_title("garden \N{EN DASH} report")
    assert page.locator("main h2").all_inner_texts() == ["Samples", "Fields", "Classes", "Images", "Shards"]
    assert shown_keys(page) == [f"plant{number:03d}" for number in range(12)]
    page.locator(".card img").evaluate_all("images => images.forEach(image => { image.loading = 'eager'; })")
    assert widths(page, ".card img") == [24 if number == 3 else 288 for number in range(12)]
    assert page.locator("#samples > .about").inner_text() == "All there are. Open one to see all of it."
    assert page.locator(".card .excerpt").first.inner_text() == "picture number 0"
    assert page.locator("#classes tbody th").all_inner_texts() == ["even", "odd"]


def test_samples_are_filtered_by_text_key_field_and_shard(desk: Watched) -> None:
    page = desk.page
    search, status = page.get_by_label("Key or text"), page.get_by_role("status")
    search.press_sequentially("10 NUMBER")
    expect(status).to_have_text("1 of 12 samples")
    assert shown_keys(page) == ["plant010"]
    search.fill("plant007")
    expect(status).to_have_text("1 of 12 samples")
    search.fill(str(2**70))  # in the JSON of all
    expect(status).to_have_text("")
    search.fill("nothing at all")
    expect(status).to_have_text("0 of 12 samples")
    search.fill("")
    page.get_by_label("Field", exact=True).select_option("without wav")
    assert shown_keys(page) == [f"plant{number:03d}" for number in range(1, 12, 2)]
    page.get_by_label("Shard", exact=True).select_option("garden-1.tar")
    assert shown_keys(page) == ["plant007", "plant009", "plant011"]
    page.get_by_label("Field", exact=True).select_option("with wav")
    assert shown_keys(page) == ["plant006", "plant008", "plant010"]


def test_a_sample_opens_large_and_leads_to_its_neighbours(desk: Watched) -> None:
    page = desk.page
    dialog = page.get_by_role("dialog")
    page.locator(".card").nth(2).click(position={"x": 60, "y": 60})  # on its picture
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("heading", level=2)).to_have_text("plant002")
    assert widths(page, "dialog img") == [640]
    expect(dialog.locator(".prose").filter(has_text="picture")).to_have_text("picture number 2")
    expect(dialog.locator(".tree")).not_to_contain_text(str(2**70))
    dialog.locator("summary").last.click()
    expect(dialog.locator(".tree")).to_contain_text(f"0: {2**70}")
    dialog.get_by_label("Next sample").click()
    expect(dialog.get_by_role("heading", level=2)).to_have_text("plant003")
    assert widths(page, "dialog img") == [24]
    dialog.get_by_label("Previous sample").click()
    dialog.get_by_label("Close").click()
    expect(dialog).to_be_hidden()


def test_it_is_used_by_keyboard_alone(desk: Watched) -> None:
    page = desk.page
    dialog = page.get_by_role("dialog")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the samples")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Key or text")).to_be_focused()
    page.keyboard.type("plant")
    for _ in range(3):  # two lists, then the first sample
        page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("plant000")
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    page.keyboard.press("ArrowLeft")  # there is none before
    for number in range(1, 12):
        page.keyboard.press("ArrowRight")
        expect(dialog.get_by_role("heading", level=2)).to_have_text(f"plant{number:03d}")
    expect(dialog.get_by_label("Next sample")).to_be_disabled()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(":focus")).to_have_text("plant011")


def test_steps_go_from_one_sample_that_fits_the_filter_to_the_next(desk: Watched) -> None:
    page = desk.page
    page.get_by_label("Field", exact=True).select_option("with wav")
    page.get_by_role("button", name="plant002").click()
    expect(page.locator("#sample-place")).to_have_text("2 of 6")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#sample-key")).to_have_text("plant004")


def test_sound_can_be_played_and_is_not_loaded_before(desk: Watched) -> None:
    page = desk.page
    audio = page.locator(".card audio").first
    assert audio.evaluate("audio => audio.readyState") == 0
    play = """audio => new Promise((played, failed) => {
        Object.assign(audio, {onended: () => played(audio.duration), onerror: failed}).play();
    })"""
    assert audio.evaluate(play) == pytest.approx(0.2)


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_it_is_accessible(browser: Browser, evil: Path, width: int, scheme: str) -> None:
    """Names, roles, contrast and the like, by axe-core; of the page that has every section."""
    with watched(browser, evil, width, color_scheme=scheme) as found:
        page = found.page
        assert violations(page) == []
        page.locator(".card h3 button").first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert violations(page) == []
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow == 0


def test_dark_mode_is_dark_and_motion_is_left_out_if_asked(browser: Browser, good: Path) -> None:
    with watched(browser, good, color_scheme="dark", reduced_motion="reduce") as dark, watched(browser, good) as light:
        style = "key => getComputedStyle(document.querySelector(key === 'scrollBehavior' ? 'html' : 'body'))[key]"
        colours = [
            [int(part) for part in re.findall(r"\d+", found.page.evaluate(style, "backgroundColor"))[:3]]
            for found in (dark, light)
        ]
        assert max(colours[0]) < 50
        assert min(colours[1]) > 200
        assert [found.page.evaluate(style, "scrollBehavior") for found in (dark, light)] == ["auto", "smooth"]


def test_whatever_a_shard_holds_stays_text(browser: Browser, evil: Path) -> None:
    with watched(browser, evil) as found:
        page = found.page
        dialog = page.get_by_role("dialog")
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        for number in range(page.locator(".card").count()):
            page.locator(".card h3 button").nth(number).click()
            expect(dialog).to_be_visible()
            dialog.locator("summary").evaluate_all("all => all.forEach(one => { one.parentElement.open = true; })")
            page.keyboard.press("Escape")
        page.get_by_label("Key or text").fill("</script><script>window")
        expect(page.get_by_role("status")).to_have_text("1 of 2 samples")
        page.locator(".card:visible h3 button").click()
        expect(dialog.locator(".prose").first).to_contain_text("</script><script>window.hacked = 1</script><img src=x")
        expect(dialog.locator(".prose").first).to_contain_text(r"\u2028 \u202e \x00 <!-- &lt;")
        expect(dialog.locator(".tree")).to_contain_text("</script><script>window.hacked = 1</script>")
        expect(dialog.locator("h3").last).to_contain_text("\"><img src=x onerror='window.hacked=7'>")
        expect(page.locator("#fields")).to_contain_text("\"><img src=x onerror='window.hacked=7'>")
        expect(page.locator("#shards")).to_contain_text("<img src=x onerror='window.hacked = 9'>.tar")
        expect(page.locator("#findings")).to_contain_text(r"z\xff\u202eexe")
        expect(page.locator("h1")).to_contain_text("{{ 7 * 7 }} ${7 * 7}")
        assert page.evaluate("window.hacked") is None
        assert page.locator("script").count() == 2
        assert page.locator("img:not([src^='data:image/webp;base64,'], [src^='data:image/png;base64,'])").count() == 0
        assert page.locator("svg[onload], b, [onclick], [onerror], iframe, object, a:not([href^='#'])").count() == 0
        assert found.said == []
        assert found.asked == []


def test_its_policy_forbids_scripts_and_requests(browser: Browser, good: Path) -> None:
    """What could get into the page after all would not run, and would reach nobody."""
    with watched(browser, good) as found:
        add = """([name, more]) => new Promise(done => {
            document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective), {once: true});
            document.body.append(Object.assign(document.createElement(name), more));
        })"""
        attempts: list[tuple[str, dict[str, str], str]] = [
            ("script", {"textContent": "window.hacked = 1"}, "script-src-elem"),
            ("script", {"src": "https://example.org/x.js"}, "script-src-elem"),
            ("img", {"src": "https://example.org/x.png"}, "img-src"),
            ("audio", {"src": "https://example.org/x.wav"}, "media-src"),
            ("style", {"textContent": "body { color: red }"}, "style-src-elem"),
            ("iframe", {"src": "https://example.org/"}, "frame-src"),
        ]
        for name, more, directive in attempts:
            assert found.page.evaluate(add, [name, more]) == directive, name
        assert found.page.evaluate("window.hacked") is None
        refused = found.page.evaluate("fetch('https://example.org/').then(() => 'sent', error => error.name)")
        assert refused == "TypeError"
        assert all("Content Security Policy" in said for said in found.said)
