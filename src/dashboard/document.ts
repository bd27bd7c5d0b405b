/** The page as one HTML document. Nothing else is loaded, so it works under every path it is mounted at. */
import { createHash } from "node:crypto";
import { SCRIPT, STYLE } from "./page.generated.ts";

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

/** What the page may do: run its own script and style, and talk to where it came from. */
export const CONTENT_SECURITY_POLICY: string = [
  "default-src 'none'",
  `script-src ${hashOf(SCRIPT)}`,
  `style-src ${hashOf(STYLE)}`,
  "img-src data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const ICON =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E" +
  "%3Crect x='2' y='7' width='12' height='8' rx='2' fill='%232f5fd0'/%3E" +
  "%3Cpath d='M5 7V5a3 3 0 0 1 6 0v2' fill='none' stroke='%232f5fd0' stroke-width='2'/%3E%3C/svg%3E";

export function documentOf({ title, readOnly }: { readonly title: string; readonly readOnly: boolean }): string {
  return `<!doctype html>
<html lang="en" data-read-only="${readOnly}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<link rel="icon" href="${ICON}">
<style>${STYLE}</style>
</head>
<body>
<noscript>This page needs JavaScript. Without it, use the command "holdfast ls".</noscript>
<div id="page"></div>
<script type="module">${SCRIPT}</script>
</body>
</html>
`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
