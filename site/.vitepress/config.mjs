import { defineConfig } from "vitepress";
import { ENTRIES, SECTIONS } from "../pages.mjs";

const sidebar = SECTIONS.map(({ text, items }) => ({
  text,
  items: items.map((item) => ({ text: item.text, link: `/${item.page}` })),
}));
sidebar.find(({ text }) => text === "Run it").items.push({ text: "holdfast --help", link: "/help" });
sidebar.find(({ text }) => text === "Start here").items.push({ text: "Examples", link: "/examples/" });
sidebar.find(({ text }) => text === "Look inside").items.push({ text: "Decisions", link: "/decisions/" });

export default defineConfig({
  title: "holdfast",
  description: "Fair, fenced distributed locks on Redis and Valkey for Node.js",
  lang: "en",
  srcDir: ".pages",
  outDir: "dist",
  cleanUrls: false,
  // test/site follows links, and headings too.
  ignoreDeadLinks: false,
  // As on code hosts, so that one link fits both.
  markdown: {
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    anchor: {
      slugify: (text) =>
        text
          .trim()
          .toLowerCase()
          .replace(/[^\p{L}\p{N}\s_-]/gu, "")
          .replace(/\s/g, "-"),
    },
  },
  head: [
    [
      "link",
      {
        rel: "icon",
        href: "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><path d='M9 14v-4a7 7 0 0 1 14 0v4' fill='none' stroke='%23b45309' stroke-width='4'/><rect x='5' y='14' width='22' height='14' rx='4' fill='%23b45309'/></svg>",
      },
    ],
  ],
  themeConfig: {
    nav: [
      { text: "Quick start", link: "/quick-start" },
      { text: "Questions", link: "/questions" },
      { text: "Recipes", link: "/recipes" },
      { text: "API", link: "/api/" },
    ],
    sidebar: [
      ...sidebar,
      {
        text: "API reference",
        collapsed: true,
        items: [...ENTRIES].map(([module, name]) => ({ text: name, link: `/api/${module}/` })),
      },
    ],
    outline: [2, 3],
    search: { provider: "local" },
    footer: { message: "MIT licence" },
  },
});
