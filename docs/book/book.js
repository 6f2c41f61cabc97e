// What the book does beyond being read: theme, search, keys, copy buttons, and the pane of source
// files. Pages work without it. It asks for nothing but search.js, which lies beside it.
(function () {
  "use strict";
  const { dataset } = document.currentScript;
  const root = new URL(dataset.root || "./", location.href).href;
  const words = JSON.parse(dataset.words);
  const html = document.documentElement;
  html.classList.add("js");

  const find = (selector) => document.querySelector(selector);
  const findAll = (selector) => Array.from(document.querySelectorAll(selector));

  function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  // ---- theme: the reader's setting, or what the button chose ----

  let storage = {};
  try {
    storage = localStorage;
  } catch (error) {
    // Forbidden to files by this browser: the choice holds for one page.
  }
  html.dataset.theme = storage.theme || "";

  function toggleTheme() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = html.dataset.theme || (dark ? "dark" : "light");
    html.dataset.theme = now === "dark" ? "light" : "dark";
    storage.theme = html.dataset.theme;
    refreshFrame();
  }

  // ---- copy buttons ----

  function addCopyButton(block) {
    const [label, copied] = block.dataset.copy === "commands" ?
      [words.copy_commands, ".command"] : [words.copy, "pre"];
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", () => {
      const parts = block.querySelectorAll(copied);
      copy(Array.from(parts, (part) => part.textContent).join("\n"));
      button.focus();
      button.textContent = words.copied;
      setTimeout(() => { button.textContent = label; }, 1500);
    });
    block.prepend(button);
  }

  // Not by navigator.clipboard, which pages do not have that came over plain HTTP.
  function copy(text) {
    const area = element("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }

  // ---- search ----

  let index = null; // once search.js has come

  function loadIndex() {
    document.head.append(element("script", { src: root + "search.js" }));
  }

  window.bookIndex = (entries) => {
    index = entries.map(([url, page, head, text]) =>
      ({ url, page, head, text, title: (head || page).toLowerCase(), low: text.toLowerCase() }));
    search();
  };

  // Every word must be there. Headings count more than text, and prose more than programs.
  function score(entry, wanted, query) {
    const points = wanted.map((word) =>
      (entry.title.includes(word) ? 20 : 0) + Math.min(entry.low.split(word).length - 1, 8));
    if (points.includes(0)) {
      return 0;
    }
    const exact = (entry.title === query ? 100 : 0) + (entry.low.includes(query) ? 10 : 0);
    const prose = /\.[ch]\.html/.test(entry.url) ? 0 : 10;
    return points.reduce((sum, part) => sum + part) + exact + prose;
  }

  // The title, and the text around the word, in whole words.
  function resultItem({ url, page, head, text, low }, word) {
    const link = element("a", { href: root + url }, head ? `${page}: ${head}` : page);
    const at = Math.max(0, low.indexOf(word));
    const end = low.startsWith(word, at) ? at + word.length : at;
    const before = at > 60 ? text.slice(at - 60, at).replace(/^\S* /, "… ") : text.slice(0, at);
    const rest = text.slice(end);
    const after = rest.length > 110 ? rest.slice(0, 110).replace(/ \S*$/, " …") : rest;
    return element("li", {}, link,
      element("span", {}, before, element("mark", {}, text.slice(at, end)), after));
  }

  function search() {
    const query = find(".search input").value.trim().toLowerCase();
    const wanted = query.split(/\s+/).filter((word) => word.length > 1);
    find("#results").hidden = !wanted.length;
    if (!index || !wanted.length) {
      return;
    }
    const found = index.map((entry) => [score(entry, wanted, query), entry])
      .filter(([sum]) => sum > 0).sort((a, b) => b[0] - a[0]);
    find("#results p").textContent =
      found.length ? words.found.replace("{count}", found.length) : words.found_none;
    find("#results ol").replaceChildren(
      ...found.slice(0, 30).map(([, entry]) => resultItem(entry, wanted[0])));
  }

  function onSearchKey(event) {
    const places = [find(".search input"), ...findAll("#results a")];
    const at = places.indexOf(event.target);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      places[at + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
    } else if (event.key === "Enter" && at === 0) {
      places[1]?.click();
    } else if (event.key === "Escape") {
      places[0].value = "";
      search();
      document.activeElement.blur();
    }
  }

  // ---- keys ----

  const KEYS = {
    "ArrowLeft": () => find(".turn .before")?.click(),
    "ArrowRight": () => find(".turn .after")?.click(),
    "/": () => find(".search input").focus(),
  };

  // Passes on each of these keys, unless what has the focus needs it itself.
  function onKeys(act) {
    document.addEventListener("keydown", (event) => {
      const modified = event.ctrlKey || event.altKey || event.metaKey ||
        (event.shiftKey && event.key !== "/"); // on many keyboards / needs Shift
      if (event.key in KEYS && !modified && !event.target.closest("input, pre[tabindex]")) {
        event.preventDefault();
        act(event.key);
      }
    });
  }

  // Escape hides the meaning of a word, until the pointer or the focus comes to one again.
  function setUpMeanings() {
    document.addEventListener("keydown", (event) => {
      html.classList.toggle("quiet", event.key === "Escape");
    });
    for (const term of findAll(".term")) {
      term.addEventListener("mouseenter", () => html.classList.remove("quiet"));
      term.addEventListener("focusin", () => html.classList.remove("quiet"));
    }
  }

  // ---- the pane of source files: a frame, which shows pages of files ----

  const wide = matchMedia("(min-width: 75rem)"); // as in book.css
  let frame = null;

  // The file has the page's theme, and shows the lines of its address, also once more.
  function refreshFrame() {
    frame?.contentWindow.postMessage({ theme: html.dataset.theme }, "*");
  }

  // replace: the reader's way back leads through pages, not through files.
  function show(link) {
    const last = link.dataset.to ? `-${link.dataset.to}` : "";
    frame.contentWindow.location.replace(link.href + last);
    refreshFrame();
  }

  function activate(snippet) {
    find(".snippet.current")?.classList.remove("current");
    if (wide.matches) {
      snippet.classList.add("current");
      show(snippet.querySelector("figcaption a"));
    }
  }

  function onClick(event) {
    const link = event.target.closest("a[target=code]");
    const snippet = event.target.closest(".snippet");
    if (event.ctrlKey || event.shiftKey || event.metaKey) {
      return; // the browser opens a tab or a window
    }
    if (link && !wide.matches) {
      link.target = "_self"; // the pane is far below
    } else if (snippet && (link || !String(getSelection()))) {
      event.preventDefault();
      activate(snippet);
    } else if (link) {
      event.preventDefault();
      show(link);
    }
  }

  // #server.c:104, a line of this chapter's files
  function showLine() {
    const [, file] = /^#([\w./-]+):\d+$/.exec(decodeURIComponent(location.hash)) || [];
    if (file) {
      show(element("a", { href: `${frame.dataset.base}${file}.html${location.hash}` }));
    }
    if (file && !wide.matches) {
      frame.scrollIntoView();
    }
  }

  // The pane follows the reader: a snippet that comes into the upper half of the page is shown.
  function followScrolling() {
    const observer = new IntersectionObserver((entries) => {
      entries.filter((entry) => entry.isIntersecting).forEach((entry) => activate(entry.target));
    }, { rootMargin: "0px 0px -50%" });
    findAll(".snippet").forEach((snippet) => observer.observe(snippet));
  }

  function setUpPane() {
    find("main").addEventListener("click", onClick);
    window.addEventListener("hashchange", showLine);
    window.addEventListener("message", ({ source, data }) => {
      if (source === frame.contentWindow && data.line) {
        history.replaceState(null, "", `#${data.line}`);
      } else if (source === frame.contentWindow) {
        KEYS[data.key]();
      }
    });
    frame.addEventListener("load", refreshFrame);
    followScrolling();
    showLine();
  }

  // ---- the page of a source file ----

  // #server.c:104-120
  function markLines() {
    const [, file, first, last = first] =
      /^#(.*):(\d+)(?:-(\d+))?$/.exec(decodeURIComponent(location.hash)) || [];
    findAll(".l.on").forEach((line) => line.classList.remove("on"));
    for (let number = Number(first); number <= Number(last); number++) {
      document.getElementById(`${file}:${number}`)?.classList.add("on");
    }
    const line = find(".l.on");
    if (line) { // not scrollIntoView, which would move the page around the pane, too
      window.scrollTo(0, line.offsetTop - find("header").offsetHeight - 10);
    }
  }

  // In the pane of a page, which gets the keys, and the line for its address.
  function setUpFrame() {
    html.classList.add("framed"); // for book.css
    const tellPage = (message) => window.parent.postMessage(message, "*");
    window.addEventListener("message", ({ source, data }) => {
      if (source === window.parent) {
        html.dataset.theme = data.theme;
        markLines();
      }
    });
    for (const number of findAll("a.n")) {
      number.addEventListener("click", () => tellPage({ line: number.hash.slice(1) }));
    }
    onKeys((key) => tellPage({ key }));
  }

  // Code that is wider than its box can be scrolled with the keyboard.
  function markScrollers() {
    findAll("pre").filter((box) => box.scrollWidth > box.clientWidth)
      .forEach((box) => { box.tabIndex = 0; });
  }

  document.addEventListener("DOMContentLoaded", () => {
    markScrollers();
    window.addEventListener("resize", markScrollers);
    if (document.body.classList.contains("file")) {
      window.addEventListener("hashchange", markLines);
      markLines();
      if (window.parent !== window) {
        setUpFrame();
      }
      return;
    }
    find(".theme").addEventListener("click", toggleTheme);
    findAll("[data-copy]").forEach(addCopyButton);
    find(".search").addEventListener("focusin", loadIndex, { once: true });
    find(".search").addEventListener("input", search);
    find(".search").addEventListener("keydown", onSearchKey);
    setUpMeanings();
    onKeys((key) => KEYS[key]());
    frame = find(".pane iframe");
    if (frame) {
      setUpPane();
    }
  });
}());
