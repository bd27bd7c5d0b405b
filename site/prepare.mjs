/**
 * Makes the site's pages in `.pages/` from the Markdown of the project, which stays the source: links are turned from
 * files of the repository into pages, consecutive blocks with labels into tabs. What has no Markdown is generated: the
 * API reference from dist/*.d.ts, the texts of --help from the program, the examples, llms.txt.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { Application } from "typedoc";
import { ENTRIES, SECTIONS } from "./pages.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..");
const out = join(here, ".pages");

/** Pages by the files that they are made from. */
const pages = new Map(SECTIONS.flatMap(({ items }) => items).map(({ file, page }) => [file, page]));
const decisions = list("docs/decisions", ".md");
for (const name of decisions) pages.set(`docs/decisions/${name}`, `decisions/${name.replace(".md", "")}`);
const examples = ["examples/", "examples/python/"].flatMap((folder) =>
  list(folder, /\.(ts|py)$/).map((name) => folder + name),
);
for (const file of examples) pages.set(file, exampleOf(file));
pages
  .set("docs/decisions", "decisions/index")
  .set("examples", "examples/index")
  .set("examples/python/README.md", "examples/python");

function list(folder, ending) {
  const isWanted = typeof ending === "string" ? (name) => name.endsWith(ending) : (name) => ending.test(name);
  return existsSync(join(root, folder)) ? readdirSync(join(root, folder)).filter(isWanted).sort() : [];
}

function exampleOf(file) {
  return file.replace(/\.(ts|py)$/, file.endsWith(".py") ? "-py" : "");
}

function read(file) {
  return readFileSync(join(root, file), "utf8");
}

function write(page, text) {
  const target = join(out, `${page}.md`);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, text);
}

/** What a link in a file leads to on the site. Files that the site does not have become plain text. */
function relink(file, text) {
  const from = posix.dirname(file);
  const outside = text.split(/(^```[^]*?^```$)/m);
  const turned = outside.map((part, i) => {
    if (i % 2 === 1) return part;
    return part.replace(/(!?)\[((?:[^[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)/g, (whole, image, label, target) => {
      if (/^(https?:|mailto:|#)/.test(target)) return whole;
      const [path, anchor] = target.split("#");
      const aim = posix.normalize(posix.join(from, path)).replace(/\/$/, "");
      if (image) return `![${label}](/${copyAsset(aim)})`;
      const found = pages.get(aim);
      if (found === undefined) return label;
      const address = `/${found.replace(/(^|\/)index$/, "$1")}`;
      return `[${relink(file, label)}](${address}${anchor === undefined ? "" : `#${anchor}`})`;
    });
  });
  return turned.join("");
}

function copyAsset(file) {
  const target = join(out, "public", file);
  mkdirSync(dirname(target), { recursive: true });
  cpSync(join(root, file), target);
  return file;
}

/** Blocks with labels that follow one another: one tab each. */
function tabs(text) {
  return text.replace(
    /(?:^```\w+ \[[^\]]+\]\n[^]*?^```$\n*){2,}/gm,
    (blocks) => `::: code-group\n\n${blocks.trimEnd()}\n\n:::\n\n`,
  );
}

/** Vue would read these as its own. */
function harmless(text) {
  const parts = text.split(/(^```[^]*?^```$|`[^`\n]*`)/m);
  return parts
    .map((part, i) => (i % 2 === 1 ? part : part.replaceAll("{{", "&#123;&#123;").replace(/<(?=[A-Z]|…)/g, "&lt;")))
    .join("");
}

function help(...args) {
  return execFileSync(process.execPath, [join(root, "dist/cli/main.js"), ...args], {
    encoding: "utf8",
    env: { ...process.env, COLUMNS: "80" },
  });
}

function commandReference() {
  const overview = help("help");
  const names = [...(/^Commands:\n((?: {2}.*\n)+)/m.exec(overview)?.[1] ?? "").matchAll(/^ {2}([a-z]+)\b/gm)]
    .map(([, name]) => name)
    .filter((name) => name !== "help");
  const sections = names.map((name) => `## ${name}\n\n\`\`\`text\n${help("help", name).trimEnd()}\n\`\`\`\n`);
  const intro = "Every command and option, as the program prints them. [The guide](/command-line) explains them.";
  return `# holdfast --help\n\n${intro}\n\n\`\`\`text\n${overview.trimEnd()}\n\`\`\`\n\n${sections.join("\n")}`;
}

async function reference() {
  const app = await Application.bootstrapWithPlugins({
    entryPoints: [...ENTRIES.keys()].map((name) => join(root, `dist/${name}.d.ts`)),
    tsconfig: join(here, "tsconfig.typedoc.json"),
    plugin: ["typedoc-plugin-markdown"],
    out: join(out, "api"),
    name: "API",
    readme: "none",
    entryFileName: "index",
    hidePageHeader: true,
    hideBreadcrumbs: true,
    disableSources: true,
    excludePrivate: true,
    excludeExternals: true,
    useCodeBlocks: true,
    expandObjects: true,
    parametersFormat: "table",
    interfacePropertiesFormat: "table",
    skipErrorChecking: true,
    logLevel: "Error",
  });
  const project = await app.convert();
  if (!project) throw new Error("TypeDoc found nothing in dist/. Run npm run build first.");
  await app.generateOutputs(project);
  for (const [module, name] of ENTRIES) {
    const page = join(out, "api", module, "index.md");
    writeFileSync(page, readFileSync(page, "utf8").replace(/^# .*$/m, `# ${name}`));
  }
  const imports = [...ENTRIES].map(([module, name]) => `- [\`${name}\`](/api/${module}/)`);
  write(
    "api/index",
    `# API reference\n\nEvery class, option, unit, default and error, by what you import:\n\n${imports.join("\n")}\n`,
  );
}

/** For readers that are programs: what there is, and all of it in one file. */
function llms() {
  const plain = (text) => text.replace(/\[([^\]]+)\]\([^)]*\)/g, "$1");
  const first = (file) => plain(/^(?!#|```|\||!|-|>|\s)(.+)$/m.exec(read(file))?.[1] ?? "").split(/(?<=\.) /)[0];
  const lines = SECTIONS.map(({ text, items }) => {
    const entries = items.map(({ text: title, file, page }) => `- [${title}](/${page}.html): ${first(file)}`);
    return `## ${text}\n\n${entries.join("\n")}\n`;
  });
  const about = JSON.parse(read("package.json")).description;
  writeFileSync(
    join(out, "public/llms.txt"),
    `# holdfast\n\n> ${about}\n\nAll pages in one file: [llms-full.txt](/llms-full.txt)\n\n${lines.join("\n")}`,
  );
  const all = SECTIONS.flatMap(({ items }) => items).map(({ file }) => read(file));
  writeFileSync(join(out, "public/llms-full.txt"), all.join("\n\n---\n\n"));
}

rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, "public"), { recursive: true });
for (const [file, page] of pages) {
  if (!file.endsWith(".md")) continue;
  write(page, harmless(tabs(relink(file, read(file).replace(/^```crontab$/gm, "```sh")))));
}
// The README's first block, which a test runs, and its chart.
const example = /^```ts\n[^]*?^```$/m.exec(read("README.md"))?.[0] ?? "";
const home = readFileSync(join(here, "home.md"), "utf8");
write("index", home.replace("<!-- example -->", example));
copyAsset("bench/results/chart.svg");
cpSync(join(here, "logo.svg"), join(out, "public/logo.svg"));
const titleOf = (file) => /^# (.*)$/m.exec(read(file))?.[1] ?? file;
write(
  "decisions/index",
  `# Decisions\n\nWhy things are as they are: one page for each choice that somebody will ask about.\n\n${decisions
    .map((name) => `- [${titleOf(`docs/decisions/${name}`)}](/decisions/${name.replace(".md", "")})`)
    .join("\n")}\n`,
);
for (const file of examples) {
  const language = file.endsWith(".py") ? "py" : "ts";
  write(exampleOf(file), `# ${file}\n\n\`\`\`${language}\n${read(file)}\`\`\`\n`);
}
write(
  "examples/index",
  `# Examples\n\nComplete programs. The tests run each of them.\n\n${examples.map((file) => `- [${file}](/${exampleOf(file)})`).join("\n")}\n`,
);
write("help", harmless(commandReference()));
await reference();
llms();
