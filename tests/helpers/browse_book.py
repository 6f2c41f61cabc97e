#!/usr/bin/env python3
"""browse_book.py BOOK [AXE.js]: reads the book in a browser without a window, as a person would.

Prints a line for each check: "ok NAME", or "not ok NAME: what is wrong". One browser does it all,
because its start takes as long as ten pages. tests/tools/book.bats has a test for each NAME.
BOOK_PAGES=all looks at all pages in all ways, also where many are of one kind.
BOOK_CHECKS=NAME… are the only ones; BOOK_TIMES=yes says how long each takes.
"""
import contextlib
import json
import os
import re
import sys
import tempfile
import time
from urllib.parse import unquote

try:
    from selenium import webdriver
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.chrome.service import Service
except ImportError:
    if sys.executable == "/usr/bin/python3":
        raise
    # The system's packages belong to the system's Python, which another one may hide.
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

BOOK = os.path.realpath(sys.argv[1])
AXE = sys.argv[2] if len(sys.argv) > 2 else None
ROOT = "file://" + BOOK + "/"
LIMIT = 20 * float(os.environ.get("PATIENCE") or 1)  # seconds, for what the browser does later
WIDTHS = (360, 768, 1440)
CHECKS = []


class Wrong(Exception):
    """What a reader would complain about."""


def check(function):
    CHECKS.append(function)
    return function


def expect(condition, complaint):
    if not condition:
        raise Wrong(complaint)


def pages():
    found = []
    for directory, _, names in os.walk(BOOK):
        found += [os.path.relpath(os.path.join(directory, name), BOOK)
                  for name in names if name.endswith(".html")]
    return sorted(found)


def kind_of(page):
    """Pages of one kind are made alike: those of steps, of chapters' files, of other files …"""
    with open(os.path.join(BOOK, page), encoding="utf-8") as file:
        look = re.search('<body class="(.*?)">', file.read())[1]
    directory, name = os.path.split(page)
    if look == "file":
        return look, directory[:1].isdigit()
    return ("part", name) if look == "one" and directory else (look,)


def some_pages(*alike):
    """All pages, but of each kind that begins with one of these words only the largest."""
    if os.environ.get("BOOK_PAGES") == "all":
        return pages()
    chosen = {}
    for page in sorted(pages(), key=lambda page: os.path.getsize(os.path.join(BOOK, page))):
        kind = kind_of(page)
        chosen[kind if kind[0] in alike else page] = page
    return sorted(chosen.values())


# ---- the browser ----


class Browser:
    def __init__(self, profile):
        options = webdriver.ChromeOptions()
        for switch in ("--headless=new", "--disable-gpu", "--no-first-run", "--disable-sync",
                       "--disable-background-networking", "--disable-component-update",
                       f"--user-data-dir={profile}"):
            options.add_argument(switch)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service("chromedriver"), options=options)
        self.driver.set_page_load_timeout(LIMIT)

    def command(self, name, **values):
        return self.driver.execute_cdp_cmd(name, values)

    def open(self, page, width=1440, dark=False):
        self.driver.switch_to.default_content()
        self.resize(width)
        self.set_media(dark)
        self.driver.get(ROOT + page)

    def set_media(self, dark):
        self.command("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}])

    def resize(self, width):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=900,
                     deviceScaleFactor=1, mobile=False)

    def run(self, script, *values):
        return self.driver.execute_script(script, *values)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def click_at(self, x, y):
        actions = ActionBuilder(self.driver)
        actions.pointer_action.move_to_location(x, y).click()
        actions.perform()

    def point_at(self, element):
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.driver).move_to_element(element).perform()

    def pane(self):
        """From now on, the pane of source files is meant."""
        self.driver.switch_to.default_content()
        self.driver.switch_to.frame("code")

    def page(self):
        self.driver.switch_to.default_content()

    def until(self, condition, complaint):
        """Waits until the condition is true; one that fails meanwhile is not true yet."""
        end = time.monotonic() + LIMIT
        while True:
            with contextlib.suppress(Exception):
                if condition():
                    return
            expect(time.monotonic() < end, complaint)
            time.sleep(0.02)

    def path(self):
        return unquote(self.driver.current_url).removeprefix(ROOT)

    def marked(self):
        """In the pane: the lines that are marked, as server.c:104."""
        self.pane()
        try:
            return self.run("return Array.from(document.querySelectorAll('.l.on'), (l) => l.id)")
        finally:
            self.page()


# ---- files, without the browser ----


def attributes(text, name):
    return [unquote(value.replace("&amp;", "&")) for value in
            re.findall(rf'<[^>]*\s{name}="([^"]*)"', text)]


@check
def links(_):
    """Every link leads to a file of the book, and to something there that has its anchor's name."""
    texts = {}
    for page in pages():
        with open(os.path.join(BOOK, page), encoding="utf-8") as file:
            texts[page] = file.read()
    ids = {page: set(attributes(text, "id")) for page, text in texts.items()}
    for page, text in texts.items():
        for link in attributes(text, "src"):
            expect(":" not in link, f"{page}: {link} is elsewhere")
        for link in attributes(text, "href") + attributes(text, "src"):
            if re.match("https://|mailto:", link):
                continue
            path, _, anchor = link.partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
            expect(os.path.isfile(os.path.join(BOOK, target)), f"{page}: no file {link}")
            expect(not anchor or anchor in ids.get(target, ()), f"{page}: no place {link}")
        anchors = attributes(text, "id")
        expect(len(anchors) == len(set(anchors)), f"{page}: two places have the same name")


@check
def sizes(_):
    """No page has more than 200 kB, with the style and the script, without pictures."""
    shared = sum(os.path.getsize(os.path.join(BOOK, name)) for name in ("book.css", "book.js"))
    for page in pages():
        size = os.path.getsize(os.path.join(BOOK, page)) + shared
        expect(size <= 200_000, f"{page} has {size} bytes")


# ---- every page ----


def requests(browser):
    """The addresses that were asked for since the last call."""
    for entry in browser.driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


@check
def every_page(browser):
    """No page complains, asks for something elsewhere, or is wider than its window."""
    browser.driver.get("about:blank")
    list(requests(browser))  # of the browser's own first page
    for page in some_pages("file", "walk"):
        browser.open(page)
        for width in WIDTHS:
            browser.resize(width)
            wide = browser.run("""
                const root = document.documentElement;
                if (root.scrollWidth <= root.clientWidth)
                  return null;
                const wide = Array.from(document.querySelectorAll('body *')).find((box) =>
                  box.getBoundingClientRect().right > root.clientWidth + 1 && !box.closest('pre'));
                return wide?.outerHTML || 'the page';
            """)
            expect(not wide, f"{page} scrolls sideways at {width}: {str(wide)[:200]}")
        log = browser.driver.get_log("browser")
        expect(not log, f"{page}: {log}")
        for url in requests(browser):
            expect(url.startswith((ROOT, "data:")), f"{page} asks for {url}")


@check
def axe(browser):
    """axe-core finds nothing serious. In the dark only the contrast of colors may be another, which
    pages of one kind have in common."""
    expect(AXE, "no axe-core")
    with open(AXE, encoding="utf-8") as file:
        library = file.read()
    browser.driver.set_script_timeout(LIMIT * 3)
    also_dark = some_pages("one", "two", "part", "walk", "file")
    for page in some_pages("part", "walk", "file"):
        browser.open(page)
        browser.run(library)
        serious(browser, page, {})
        if page in also_dark:
            browser.set_media(dark=True)
            serious(browser, page + " (dark)", {"runOnly": ["color-contrast"]})


def serious(browser, where, options):
    """Fails if axe-core finds something serious on this page."""
    found = browser.driver.execute_async_script("""
        const [options, done] = arguments;
        axe.run({resultTypes: ['violations'], iframes: false, preload: false, ...options})
          .then((r) => done(r.violations), (e) => done([{impact: 'serious', id: String(e),
            nodes: []}]));
    """, options)
    for rule in found:
        first = rule["nodes"][0]["html"][:150] if rule["nodes"] else ""
        expect(rule["impact"] not in ("serious", "critical"), f"{where}: {rule['id']}: {first}")


# ---- as a person would ----

# Whether the beginning of arguments[0] is.
IN_SIGHT = """
    const top = arguments[0].getBoundingClientRect().top;
    return top >= 0 && top < innerHeight;
"""


@check
def snippet_to_lines(browser):
    """A click on a snippet shows its file and marks its lines; so does scrolling to it."""
    browser.open("01-basic-tcp.html")
    for number in (3, 9):
        snippet = browser.find(f"#snippet-{number}")
        place = browser.run("arguments[0].scrollIntoView({block: 'center'});"
                            "return scrollY", snippet)
        caption = snippet.find_element(By.TAG_NAME, "a")
        file, first, last = re.match(
            r"(.*), lines (\d+) to (\d+)", caption.text).groups()
        wanted = [f"{file}:{line}" for line in range(int(first), int(last) + 1)]
        if number == 9:
            snippet.find_element(By.TAG_NAME, "pre").click()
        browser.until(lambda: browser.marked() == wanted, f"{caption.text} is not marked")
        expect(browser.run("return scrollY") == place, "the pane scrolls the page around it")
        code = snippet.find_element(By.TAG_NAME, "code").text
        browser.pane()
        line = browser.find(f'[id="{wanted[0]}"]')
        expect(code.split("\n")[0].strip() in line.text, f"{wanted[0]} is not the snippet's")
        expect(browser.run(IN_SIGHT, line), f"{wanted[0]} is out of sight")
        browser.page()


@check
def snippet_again(browser):
    """A second click on a snippet leads back to its lines, wherever the pane is by then."""
    browser.open("01-basic-tcp.html")
    code = browser.find("#snippet-12 pre")
    browser.point_at(code)
    code.click()
    browser.until(browser.marked, "no line is marked")
    wanted = browser.marked()
    browser.pane()
    browser.run("scrollTo(0, 0)")
    expect(not browser.run(IN_SIGHT, browser.find(".l.on")), "the file is too short for this test")
    browser.page()
    code.click()
    browser.pane()
    browser.until(lambda: browser.run(IN_SIGHT, browser.find(".l.on")), "they stay out of sight")
    browser.find(".files nav a:not([aria-current])").click()
    browser.until(lambda: not browser.all(".l.on"), "the tab leads nowhere")
    browser.page()
    code.click()
    browser.until(lambda: browser.marked() == wanted, "the file does not come back")


@check
def line_to_prose(browser):
    """The mark in a file's margin leads to the snippet that shows the line."""
    browser.open("01-basic-tcp.html")
    browser.pane()
    mark = browser.find(".shown .m")
    snippet = mark.get_attribute("href").partition("#")[2]
    mark.click()
    browser.page()
    browser.until(lambda: browser.path() == f"01-basic-tcp.html#{snippet}", "no way back")
    browser.until(lambda: browser.run(
        IN_SIGHT, browser.find(f"#{snippet}")), f"{snippet} is out of sight")
    browser.pane()
    expect(browser.all(".l:not(.shown):not(.named)"), "no line is left without explanation")


@check
def link_of_a_line(browser):
    """A click on a line's number makes a link, which leads to the line again."""
    browser.open("01-basic-tcp.html")
    browser.pane()
    browser.find('[id="server.c:20"] .n').click()
    browser.page()
    browser.until(lambda: browser.path() == "01-basic-tcp.html#server.c:20",
                  "the page's address is not that of the line")
    browser.open("index.html")
    browser.open("01-basic-tcp.html#steps/4-all.c:12")
    browser.until(lambda: browser.marked() == ["steps/4-all.c:12"], "the line is not marked")


@check
def tabs(browser):
    """The tabs of the pane lead from file to file, and say which one it is."""
    browser.open("06-epoll.html")
    for name in ("client.c", "loop.h"):
        browser.pane()
        browser.driver.find_element(By.LINK_TEXT, name).click()
        browser.until(lambda: browser.find("h1").text == f"06-epoll/{name}", f"no {name}")
        expect(browser.find(".files [aria-current]").text == name, f"{name} is not marked")


@check
def names_in_the_prose(browser):
    """A click on a function's name in the prose shows the function."""
    browser.open("06-epoll.html")
    name = browser.find('a.name[href*="loop.c"]')
    wanted = unquote(name.get_attribute("href")).partition("#")[2]
    browser.point_at(name)
    name.click()
    browser.until(lambda: wanted in browser.marked(), f"{wanted} is not marked")


@check
def search(browser):
    """Search works from the keyboard, on all pages and on names of functions."""
    browser.open("02-udp.html")
    browser.press("/")
    browser.press("partial line")
    browser.until(lambda: browser.all("#results a"), "nothing is found")
    first = browser.find("#results a")
    expect(first.text == "Glossary: partial line", f"the first result is {first.text}")
    browser.press(Keys.ARROW_DOWN, Keys.ENTER)
    browser.until(lambda: browser.path() == "glossary.html#partial-line", "it leads elsewhere")
    browser.press("/", "loop_step")
    browser.until(lambda: "06-epoll/loop.c" in browser.find("#results").text, "no loop_step")
    browser.press(Keys.ESCAPE, "/", "no such words anywhere")
    browser.until(lambda: browser.find("#results p").text == "Not found", "found something")
    browser.press(Keys.ESCAPE, "/", "backlog")
    browser.until(lambda: browser.all("#results a"), "no backlog")
    browser.click_at(2, 500)
    browser.until(lambda: not browser.find("#results").is_displayed(), "the results stay")
    browser.find(".search input").click()
    browser.until(lambda: browser.find("#results a").is_displayed(), "the results are lost")
    browser.find("#results li:nth-child(2) a").click()
    browser.until(lambda: browser.path() != "glossary.html#partial-line", "a click leads nowhere")


@check
def contents(browser):
    """The table of contents opens, leads to a page, and closes by Escape or a click elsewhere."""
    for width in (1440, 360):
        browser.open("02-udp.html", width)
        table, button = browser.find(".contents"), browser.find("[popovertarget]")
        link = table.find_element(By.CSS_SELECTOR, "[href='glossary.html']")
        for close in (lambda: browser.press(Keys.ESCAPE), lambda: browser.click_at(2, 500)):
            expect(not table.is_displayed(), "it is open")
            button.click()
            browser.until(table.is_displayed, "it does not open")
            expect(browser.run(IN_SIGHT, table), f"it opens out of sight at {width}")
            close()
            browser.until(lambda: not table.is_displayed(), "it stays open")
        button.click()
        link.click()
        browser.until(lambda: browser.path() == "glossary.html", "it leads elsewhere")


@check
def keys(browser):
    """The arrow keys turn pages, also from within the pane."""
    browser.open("02-udp.html")
    browser.press(Keys.ARROW_RIGHT)
    browser.until(lambda: browser.path() == "02-udp/exercises.html", "no next page")
    browser.press(Keys.ARROW_LEFT)
    browser.until(lambda: browser.path() == "02-udp.html", "no previous page")
    browser.pane()
    browser.find("h1").click()
    browser.press(Keys.ARROW_RIGHT)
    browser.page()
    browser.until(lambda: browser.path() == "02-udp/exercises.html", "not from the pane")


@check
def copy(browser):
    """The copy button copies the commands, without prompts and output."""
    browser.open("01-basic-tcp.html")
    session = browser.all(".session")[1]
    browser.point_at(session)
    session.find_element(By.CSS_SELECTOR, "button").click()
    browser.until(lambda: session.find_element(By.TAG_NAME, "button").text == "Copied",
                  "it does not say so")
    browser.run("const area = document.createElement('textarea');"
                "document.body.prepend(area); area.focus()")
    ActionChains(browser.driver).key_down(Keys.CONTROL).send_keys("v").key_up(
        Keys.CONTROL).perform()
    lines = session.find_element(By.TAG_NAME, "pre").text.split("\n")
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    expect(1 < len(commands) < len(lines), "this session has not both commands and output")
    wanted = "\n".join(commands)
    browser.until(lambda: browser.find("textarea").get_property("value") == wanted,
                  f"pasted: {browser.find('textarea').get_property('value')}")


def background(browser):
    return browser.run("return getComputedStyle(document.body).backgroundColor")


@check
def theme(browser):
    """The reader's setting decides about dark and light, then the button, which is remembered."""
    browser.open("01-basic-tcp.html")
    light = background(browser)
    browser.open("01-basic-tcp.html", dark=True)
    dark = background(browser)
    expect(light != dark, "the reader's setting changes nothing")
    browser.open("01-basic-tcp.html")
    browser.find(".theme").click()
    expect(background(browser) == dark, "the button does nothing")
    browser.pane()
    browser.until(lambda: background(browser) == dark, "the pane is still light")
    browser.open("glossary.html")
    expect(background(browser) == dark, "the next page has forgotten it")
    browser.open("01-basic-tcp/server.c.html")
    expect(background(browser) == dark, "the page of a file has forgotten it")
    browser.open("glossary.html")
    browser.find(".theme").click()
    expect(background(browser) == light, "the button does not lead back")
    browser.run("localStorage.clear()")


@check
def words(browser):
    """A word's meaning appears at the pointer and at the keyboard's focus; Escape hides it."""
    for width in (1440, 360):
        browser.open("01-basic-tcp.html", width)
        term = browser.all(".term")[2]
        meaning = term.find_element(By.CSS_SELECTOR, ".meaning")
        link = term.find_element(By.TAG_NAME, "a")
        expect(not meaning.is_displayed(), "it is there without being asked for")
        browser.point_at(link)
        browser.until(meaning.is_displayed, "nothing at the pointer")
        expect(browser.run("const box = arguments[0].getBoundingClientRect();"
                           "return box.left >= 0 && box.right <= innerWidth", meaning),
               f"it does not fit at {width}")
        ActionChains(browser.driver).move_to_element(browser.find("header")).perform()
        browser.until(lambda: not meaning.is_displayed(), "it stays")
        browser.run("""
            const all = Array.from(document.querySelectorAll('main a, main button'));
            all[all.indexOf(arguments[0]) - 1].focus();
        """, link)
        browser.press(Keys.TAB)
        expect(browser.driver.switch_to.active_element == link, "Tab does not lead to it")
        browser.until(meaning.is_displayed, "nothing at the keyboard's focus")
        browser.press(Keys.ESCAPE)
        browser.until(lambda: not meaning.is_displayed(), "Escape does not hide it")
        browser.point_at(link)
        browser.until(meaning.is_displayed, "it does not come back to the pointer")
        browser.press(Keys.ESCAPE)
        browser.until(lambda: not meaning.is_displayed(), "Escape does not hide it at the pointer")


@check
def narrow(browser):
    """On a phone, code comes below the prose, and a snippet leads to the page of its file."""
    browser.open("01-basic-tcp.html", 360)
    expect(browser.run("return document.querySelector('.pane').getBoundingClientRect().top >="
                       "document.querySelector('main').getBoundingClientRect().bottom - 1"),
           "the pane is not below the prose")
    caption = browser.find("#snippet-2 figcaption a")
    browser.run("arguments[0].scrollIntoView({block: 'center'})", caption)
    caption.click()
    browser.until(lambda: browser.path().startswith("01-basic-tcp/steps/2-echo.c.html#"),
                  "the snippet leads nowhere")


@check
def hints(browser):
    """Hints are folded until they are asked for."""
    browser.open("01-basic-tcp/exercises.html")
    hint = browser.find(".hint")
    text = hint.find_element(By.CSS_SELECTOR, ".hint-text")
    expect(not text.is_displayed(), "a hint is open")
    browser.point_at(hint)
    hint.find_element(By.TAG_NAME, "summary").click()
    browser.until(text.is_displayed, "a hint does not open")


@check
def steps(browser):
    """A step stands beside the one before it, with the changed lines marked, and leads on."""
    browser.open("01-basic-tcp/steps/5-outlive.html")
    names = [link.text for link in browser.all(".side .note a")]
    expect(names == ["steps/4-all.c", "steps/5-outlive.c"], f"beside each other: {names}")
    left, right = [side.rect for side in browser.all(".side")]
    expect(left["y"] == right["y"] and left["x"] < right["x"], "they are not side by side")
    new = " ".join(line.text for line in browser.all(".l.new"))
    expect("MSG_NOSIGNAL" in new and "int main" not in new, "other lines are marked")
    expect(browser.all("tr.changed"), "no client is treated better")
    browser.press(Keys.ARROW_RIGHT)
    browser.until(lambda: browser.path() == "01-basic-tcp/steps/6-restart.html", "no next step")


@check
def without_script(browser):
    """Without JavaScript, prose, code and pictures are all there."""
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open("01-basic-tcp.html")
        expect("This chapter's server sends back" in browser.find("main").text, "no prose")
        expect("static void echo" in browser.find("#snippet-2").text, "no snippets")
        expect(not browser.find(".theme").is_displayed(), "a button that does nothing")
        browser.find("#snippet-2 figcaption a").click()
        browser.pane()
        browser.until(lambda: browser.find("h1").text == "01-basic-tcp/steps/2-echo.c",
                      "the snippet's file does not come into the pane")
        expect("recv(client, chunk" in browser.find("pre").text, "no code in the pane")
        browser.open("benchmarks.html")
        for picture in browser.all("img"):
            browser.run("arguments[0].scrollIntoView()", picture)
            browser.until(lambda: browser.run("return arguments[0].naturalWidth > 0", picture),
                          "no picture")
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", value=False)


def main():
    only = os.environ.get("BOOK_CHECKS", "").split()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        try:
            for function in CHECKS:
                if only and function.__name__ not in only:
                    continue
                started = time.monotonic()
                try:
                    function(browser)
                    print(f"ok {function.__name__}", flush=True)
                except Exception as error:  # whatever the browser says is wrong, too
                    text = " ".join(str(error).split())[:600]
                    print(f"not ok {function.__name__}: {type(error).__name__}: {text}", flush=True)
                if os.environ.get("BOOK_TIMES"):
                    print(f"# {time.monotonic() - started:.1f} s", flush=True)
        finally:
            browser.driver.quit()


main()
