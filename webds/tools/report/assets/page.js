"use strict";
(() => {
  const samples = JSON.parse(document.getElementById("data").textContent);
  const cards = [...document.querySelectorAll(".card")];
  const dialog = document.getElementById("sample");
  const body = document.getElementById("sample-body");
  const heading = document.getElementById("sample-key");
  const place = document.getElementById("sample-place");
  const previous = document.getElementById("previous");
  const next = document.getElementById("next");
  let open = -1;

  // Everything that came out of a shard gets into the page as the text of a text node, or as the data: URL of a picture
  // or sound that the report itself has made.
  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };

  // A JSON value: ["o", [key, node], …], ["a", node, …], ["s", text] or ["v", text].
  const value = ([kind, ...rest]) =>
    kind === "s"
      ? make("bdi", { className: "string" }, `"${rest[0]}"`)
      : make("bdi", { className: "plain" }, rest[0]);
  const isLeaf = ([kind, ...rest]) => kind === "s" || kind === "v" || rest.length === 0;
  const tree = (label, node, depth) => {
    const [kind, ...rest] = node;
    if (isLeaf(node)) {
      const leaf = kind === "o" ? make("span", { className: "plain" }, "{}") : kind === "a" ? make("span", { className: "plain" }, "[]") : value(node);
      return make("div", {}, ...label, leaf);
    }
    const items = kind === "o"
      ? rest.map(([key, inner]) => [[make("bdi", { className: "of" }, key), ": "], inner])
      : rest.map((inner, i) => [[make("span", { className: "plain" }, `${i}: `)], inner]);
    const about = make("span", { className: "plain" }, kind === "o" ? `{${rest.length}}` : `[${rest.length}]`);
    const list = make("ul");
    const details = make("details", { open: depth < 2 && rest.length <= 50 }, make("summary", {}, ...label, about), list);
    // Built when it is first seen: large values are many elements.
    const fill = () => {
      if (details.open && !list.firstChild) {
        list.append(...items.map(([of, inner]) => make("li", {}, tree(of, inner, depth + 1))));
      }
    };
    details.addEventListener("toggle", fill);
    fill();
    return details;
  };

  const picture = (sample, card, field) => {
    const { width, height, source, small } = field.image;
    const thumbnail = card.querySelector(".picture img");
    const image = make("img", { src: source ?? thumbnail.src, alt: `${field.name} of ${sample.key}, ${width} by ${height} pixels` });
    if (small) image.className = "small";
    return image;
  };

  const player = (sample, card, field) =>
    make(field.kind, {
      controls: true,
      preload: "metadata",
      src: field.media.source ?? card.querySelector("audio, video").src,
      ariaLabel: `${field.name} of ${sample.key}`,
    });

  const show = (sample, card, field) => {
    const facts = [field.facts, field.size].filter(Boolean).join(", ");
    const head = make("h3", {}, make("bdi", { className: "name" }, field.name), " ", make("span", { className: "facts" }, facts));
    const part = make("div", { className: "field" }, head);
    if (field.fault) part.append(make("p", { className: "fault" }, `It cannot be decoded: ${field.fault}`));
    if (field.image) part.append(picture(sample, card, field));
    if (field.media) part.append(player(sample, card, field));
    if (field.tree) part.append(make("div", { className: "tree" }, tree([], field.tree, 0)));
    if (field.text !== undefined) {
      const prose = !field.fault && (field.kind === "text" || field.kind === "class");
      part.append(prose ? make("div", { className: "prose", dir: "auto" }, field.text) : make("pre", { tabIndex: 0 }, field.text));
    }
    if (field.note) part.append(make("p", { className: "note" }, `${field.note[0].toUpperCase()}${field.note.slice(1)}.`));
    return part;
  };

  const visible = () => cards.map((card, i) => (card.hidden ? -1 : i)).filter((i) => i >= 0);

  const enter = (number) => {
    const sample = samples[number];
    const among = visible();
    const at = among.indexOf(number);
    open = number;
    document.querySelectorAll("audio, video").forEach((element) => element.pause());
    heading.replaceChildren(make("bdi", {}, sample.key));
    place.textContent = `${at + 1} of ${among.length}`;
    previous.disabled = at <= 0;
    next.disabled = at >= among.length - 1;
    const origin = make("p", { className: "origin" }, `Sample ${sample.ordinal} of `, make("bdi", { className: "name" }, sample.shard));
    if (sample.hidden) origin.append(`; ${sample.hidden} more fields are not shown`);
    const looks = make("div", { className: "looks" });
    const reads = make("div", { className: "reads" });
    for (const field of sample.fields) {
      (field.image || field.media ? looks : reads).append(show(sample, cards[number], field));
    }
    reads.append(origin);
    body.className = looks.firstChild ? "both" : "";
    body.replaceChildren(...(looks.firstChild ? [looks, reads] : [reads]));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    heading.focus();
  };

  const step = (by) => {
    const among = visible();
    const to = among[among.indexOf(open) + by];
    if (to !== undefined) enter(to);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-open]");
    if (button) enter(Number(button.dataset.open));
  });
  previous.addEventListener("click", () => step(-1));
  next.addEventListener("click", () => step(1));
  document.getElementById("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    body.replaceChildren();
    cards[open]?.querySelector("[data-open]").focus();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("audio, video, pre, summary")) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
  });

  const form = document.getElementById("filter");
  if (!form) return;
  const words = (node) => {
    const [kind, ...rest] = node;
    if (kind === "o") return rest.map(([key, inner]) => `${key} ${words(inner)}`).join(" ");
    return kind === "a" ? rest.map(words).join(" ") : rest[0];
  };
  const haystacks = samples.map((sample) =>
    [sample.key, ...sample.fields.flatMap((field) => [field.text ?? "", field.tree ? words(field.tree) : "", field.fault ?? ""])]
      .join("\n")
      .toLocaleLowerCase(),
  );
  const input = (id) => document.getElementById(id);
  const filter = () => {
    const wanted = input("find").value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const has = input("has").value;
    const shard = input("shard")?.value ?? "";
    const faulty = input("faulty")?.checked ?? false;
    let count = 0;
    samples.forEach((sample, i) => {
      const named = sample.fields.some((field) => field.name === has.slice(1));
      const fits =
        wanted.every((word) => haystacks[i].includes(word)) &&
        (!has || named === (has[0] === "+")) &&
        (!shard || sample.shard === shard) &&
        (!faulty || sample.fields.some((field) => field.fault));
      cards[i].hidden = !fits;
      count += fits;
    });
    input("shown").textContent = count === samples.length ? "" : `${count} of ${samples.length} samples`;
  };
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(); // browsers keep what was typed when a page is loaded again
})();
