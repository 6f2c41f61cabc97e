// What the book does beyond being read: theme, search, keys, copy buttons, and the pane of source
// files. Pages work without it. It asks for nothing but search.js, which lies beside it.
(function () {
  "use strict";
  const script = document.currentScript;
  const root = new URL(script.dataset.root || "./", location.href).href;
  const words = JSON.parse(script.dataset.words);
  const html = document.documentElement;
  html.classList.add("js");

  // ---- theme: the reader's setting, or what the button chose ----

  function remembered() {
    try {
      return localStorage.getItem("theme");
    } catch (error) { // a browser may forbid it for files
      return null;
    }
  }

  function remember(theme) {
    try {
      localStorage.setItem("theme", theme);
    } catch (error) {
      // It holds for this page only.
    }
  }

  function setTheme(theme) {
    if (theme) {
      html.dataset.theme = theme;
    }
  }
  setTheme(remembered());

  function theme() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    return html.dataset.theme || (dark ? "dark" : "light");
  }

  function toggleTheme() {
    setTheme(theme() === "dark" ? "light" : "dark");
    remember(theme());
    tellFrame();
  }

  // ---- copy buttons ----

  function addCopyButton(block) {
    const commandsOnly = block.dataset.copy === "commands";
    const label = commandsOnly ? words.copy_commands : words.copy;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = label;
    button.addEventListener("click", async () => {
      const parts = block.querySelectorAll(commandsOnly ? ".command" : "pre");
      await copy(Array.from(parts, (part) => part.textContent).join("\n"));
      button.textContent = words.copied;
      setTimeout(() => { button.textContent = label; }, 1500);
    });
    block.prepend(button);
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch (error) { // no such permission: the old way
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  // ---- search ----

  let index = null;
  let waiting = null;

  window.bookIndex = (entries) => {
    index = entries.map(([url, page, head, text]) =>
      ({ url, page, head, text, title: (head || page).toLowerCase(), low: text.toLowerCase() }));
    if (waiting) {
      search(waiting);
    }
  };

  function loadIndex() {
    if (!document.getElementById("index")) {
      const loader = document.createElement("script");
      loader.id = "index";
      loader.src = root + "search.js";
      document.head.append(loader);
    }
  }

  // Every word must be there. Headings count more than text, and prose more than programs.
  function score(entry, wanted, query) {
    let sum = entry.url.includes(".c.html") || entry.url.includes(".h.html") ? 0 : 10;
    for (const word of wanted) {
      const inTitle = entry.title.includes(word);
      const inText = entry.low.split(word).length - 1;
      if (!inTitle && !inText) {
        return 0;
      }
      sum += (inTitle ? 20 : 0) + Math.min(inText, 8);
    }
    return sum + (entry.title === query ? 100 : 0) + (entry.low.includes(query) ? 10 : 0);
  }

  function excerpt(entry, word) {
    const { text } = entry;
    const at = Math.max(0, entry.low.indexOf(word));
    // Whole words: from the first that begins within 60 letters, to the last within 110.
    const from = at > 60 ? Math.min(at, text.indexOf(" ", at - 60) + 1) : 0;
    const end = text.length <= at + 110 ? text.length
      : Math.max(at, text.lastIndexOf(" ", at + 110));
    const line = document.createElement("span");
    line.append((from ? "… " : "") + text.slice(from, at));
    const hit = document.createElement("mark");
    hit.textContent = entry.low.startsWith(word, at) ? text.slice(at, at + word.length) : "";
    const after = at + hit.textContent.length;
    line.append(hit, text.slice(after, Math.max(after, end)) + (end < text.length ? " …" : ""));
    return line;
  }

  function search(query) {
    waiting = query;
    query = query.trim().toLowerCase();
    const box = document.getElementById("results");
    const wanted = query.split(/\s+/).filter((word) => word.length > 1);
    box.hidden = !wanted.length;
    if (!index || !wanted.length) {
      return;
    }
    const found = index.map((entry) => [score(entry, wanted, query), entry])
      .filter(([sum]) => sum > 0).sort((a, b) => b[0] - a[0]);
    box.querySelector("p").textContent =
      found.length ? words.found.replace("{count}", found.length) : words.found_none;
    box.querySelector("ol").replaceChildren(...found.slice(0, 30).map(([, entry]) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = root + entry.url;
      link.textContent = entry.head ? `${entry.page}: ${entry.head}` : entry.page;
      item.append(link, excerpt(entry, wanted[0]));
      return item;
    }));
  }

  function moveInResults(step) {
    const input = document.querySelector(".search input");
    const places = [input, ...document.querySelectorAll("#results a")];
    const at = places.indexOf(document.activeElement);
    places[Math.min(Math.max(at + step, 0), places.length - 1)].focus();
  }

  function setUpSearch() {
    const input = document.querySelector(".search input");
    const box = document.querySelector(".search");
    input.addEventListener("focus", loadIndex);
    input.addEventListener("input", () => search(input.value));
    box.addEventListener("keydown", (event) => {
      const steps = { ArrowDown: 1, ArrowUp: -1 };
      if (event.key in steps) {
        event.preventDefault();
        moveInResults(steps[event.key]);
      } else if (event.key === "Enter" && event.target === input) {
        document.querySelector("#results a")?.click();
      } else if (event.key === "Escape") {
        input.value = "";
        search("");
        input.blur();
      }
    });
    document.addEventListener("click", (event) => {
      const contents = document.querySelector(".contents");
      if (!box.contains(event.target)) {
        document.getElementById("results").hidden = true;
      }
      if (!contents.contains(event.target)) {
        contents.removeAttribute("open");
      }
    });
  }

  // ---- keys ----

  function act(key) {
    const links = { ArrowLeft: "prev", ArrowRight: "next" };
    if (key in links) {
      const link = document.querySelector(`link[rel=${links[key]}]`);
      if (link) {
        location.href = link.href;
      }
    } else if (key === "/") {
      document.querySelector(".search input").focus();
    }
    return key in links || key === "/";
  }

  document.addEventListener("keydown", (event) => {
    const inField = event.target.closest("input, textarea, pre[tabindex]");
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || inField) {
      return;
    }
    if (event.key === "Escape") {
      document.querySelectorAll(".term:hover, .term:focus-within")
        .forEach((term) => term.classList.add("quiet"));
      document.querySelector(".contents")?.removeAttribute("open");
    } else if (isFile) {
      if (window.parent !== window && /^(ArrowLeft|ArrowRight|\/)$/.test(event.key)) {
        event.preventDefault();
        window.parent.postMessage({ key: event.key }, "*");
      }
    } else if (act(event.key)) {
      event.preventDefault();
    }
  });

  // ---- the pane of source files: a frame, which shows pages of files ----

  let frame = null;
  let isFile = false;
  let shown = ""; // what the frame was told to show
  let followed = null; // the snippet that the scrolling has reached
  const wide = matchMedia("(min-width: 75rem)");

  function tellFrame() {
    frame?.contentWindow.postMessage({ theme: html.dataset.theme }, "*");
  }

  // replace: the reader's way back leads through pages, not through files.
  function show(href, last) {
    const url = href + (last ? `-${last}` : "");
    if (url !== shown) {
      shown = url;
      frame.contentWindow.location.replace(url);
    }
  }

  function activate(snippet) {
    document.querySelector(".snippet.current")?.classList.remove("current");
    if (wide.matches) {
      snippet.classList.add("current");
      const link = snippet.querySelector("figcaption a");
      show(link.href, link.dataset.to);
    }
  }

  // #server.c:104, a line of this chapter's files
  function showLine() {
    const match = /^#([\w./-]+):(\d+)$/.exec(decodeURIComponent(location.hash));
    if (match) {
      show(new URL(`${frame.dataset.base}${match[1]}.html${location.hash}`, location.href).href);
      if (!wide.matches) {
        frame.scrollIntoView();
      }
    }
  }

  function setUpPane() {
    const snippets = document.querySelectorAll(".snippet");
    for (const snippet of snippets) {
      snippet.addEventListener("click", (event) => {
        if (!event.target.closest("a, button") && !String(getSelection())) {
          activate(snippet);
        }
      });
    }
    for (const link of document.querySelectorAll("a[target=code]")) {
      link.addEventListener("click", (event) => {
        if (event.ctrlKey || event.shiftKey || event.metaKey) {
          return;
        }
        event.preventDefault();
        const snippet = link.closest(".snippet");
        if (!wide.matches) {
          location.href = link.href;
        } else if (snippet) {
          activate(snippet);
        } else {
          show(link.href, link.dataset.to);
        }
      });
    }
    // The pane follows the reader: it shows the last snippet that has come up to mid-page.
    const follow = () => {
      const passed = Array.from(snippets)
        .filter((snippet) => snippet.getBoundingClientRect().top < innerHeight / 2);
      if (passed.length && passed.at(-1) !== followed) {
        followed = passed.at(-1);
        activate(followed);
      }
    };
    window.addEventListener("scroll", () => requestAnimationFrame(follow));
    window.addEventListener("hashchange", showLine);
    window.addEventListener("message", (event) => {
      if (event.source !== frame.contentWindow) {
        return;
      }
      if (event.data.ready) {
        tellFrame();
      } else if (event.data.key) {
        act(event.data.key);
      } else if (event.data.line) {
        shown = "";
        history.replaceState(null, "", `#${event.data.line}`);
      }
    });
    showLine();
  }

  // ---- the page of a source file ----

  // #server.c:104-120
  function markLines() {
    const match = /^#(.*):(\d+)(?:-(\d+))?$/.exec(decodeURIComponent(location.hash));
    document.querySelectorAll(".l.on").forEach((line) => line.classList.remove("on"));
    if (!match) {
      return;
    }
    const first = Number(match[2]);
    for (let number = first; number <= Number(match[3] || first); number++) {
      document.getElementById(`${match[1]}:${number}`)?.classList.add("on");
    }
    const line = document.getElementById(`${match[1]}:${first}`);
    if (line) { // scrollIntoView would scroll the page around the frame, too
      const margin = parseFloat(getComputedStyle(line).scrollMarginTop);
      window.scrollTo(0, window.scrollY + line.getBoundingClientRect().top - margin);
    }
  }

  function setUpFile() {
    window.addEventListener("hashchange", markLines);
    window.addEventListener("message", (event) => {
      if (event.source === window.parent) {
        setTheme(event.data.theme);
      }
    });
    document.querySelector("pre.source").addEventListener("click", (event) => {
      const number = event.target.closest("a.n");
      if (number && window.parent !== window) {
        window.parent.postMessage({ line: number.hash.slice(1) }, "*");
      }
    });
    if (window.parent !== window) {
      html.classList.add("framed");
      window.parent.postMessage({ ready: true }, "*");
    }
    markLines();
  }

  // Code that is wider than its box can be scrolled with the keyboard.
  function markScrollers() {
    for (const box of document.querySelectorAll("pre")) {
      if (box.scrollWidth > box.clientWidth) {
        box.tabIndex = 0;
      }
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    isFile = document.body.classList.contains("file");
    markScrollers();
    window.addEventListener("resize", markScrollers);
    if (isFile) {
      setUpFile();
      return;
    }
    document.querySelector(".theme").addEventListener("click", toggleTheme);
    document.querySelectorAll("[data-copy]").forEach(addCopyButton);
    document.querySelectorAll(".term").forEach((term) => {
      term.addEventListener("mouseleave", () => term.classList.remove("quiet"));
      term.addEventListener("focusout", () => term.classList.remove("quiet"));
    });
    setUpSearch();
    frame = document.querySelector("iframe[name=code]");
    if (frame) {
      setUpPane();
    }
  });
}());
