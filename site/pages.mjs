/** What stands in the sidebar, in this order, and the files that it is made from. */
import { existsSync } from "node:fs";

const ALL = [
  {
    text: "Start here",
    items: [
      { text: "Quick start", page: "quick-start", file: "docs/quick-start.md" },
      { text: "Tour", page: "tour", file: "README.md" },
      { text: "Which primitive?", page: "primitives", file: "docs/primitives.md" },
      { text: "Questions and answers", page: "questions", file: "docs/questions.md" },
      { text: "Recipes", page: "recipes", file: "docs/recipes.md" },
      { text: "Comparisons", page: "comparisons", file: "docs/comparisons.md" },
    ],
  },
  {
    text: "Understand it",
    items: [
      { text: "Guarantees", page: "guarantees", file: "docs/guarantees.md" },
      { text: "Choosing a topology", page: "choosing", file: "docs/choosing.md" },
      { text: "Fencing", page: "fencing", file: "docs/fencing.md" },
      { text: "The article", page: "article", file: "docs/article.md" },
    ],
  },
  {
    text: "Run it",
    items: [
      { text: "Going to production", page: "production", file: "docs/production.md" },
      { text: "Troubleshooting", page: "troubleshooting", file: "docs/troubleshooting.md" },
      { text: "Doctor", page: "doctor", file: "docs/doctor.md" },
      { text: "Observability", page: "observability", file: "docs/observability.md" },
      { text: "Dashboard", page: "dashboard", file: "docs/dashboard.md" },
      { text: "Command line", page: "command-line", file: "docs/command-line.md" },
      { text: "Testing", page: "testing", file: "docs/testing.md" },
      { text: "Frameworks", page: "frameworks", file: "docs/frameworks.md" },
    ],
  },
  {
    text: "Move to it",
    items: [
      { text: "From redlock", page: "moving/from-redlock", file: "docs/moving/from-redlock.md" },
      {
        text: "From redis-semaphore",
        page: "moving/from-redis-semaphore",
        file: "docs/moving/from-redis-semaphore.md",
      },
      {
        text: "From other libraries",
        page: "moving/from-other-libraries",
        file: "docs/moving/from-other-libraries.md",
      },
      { text: "Sharing locks", page: "moving/shared-keys", file: "docs/moving/shared-keys.md" },
    ],
  },
  {
    text: "Look inside",
    items: [
      { text: "Protocol", page: "protocol", file: "docs/protocol.md" },
      { text: "Architecture", page: "architecture", file: "docs/architecture.md" },
      { text: "Simulator", page: "simulator", file: "docs/simulator.md" },
      { text: "Chaos", page: "chaos", file: "docs/chaos.md" },
      { text: "Proof", page: "proof", file: "docs/proof.md" },
      { text: "Benchmark results", page: "bench/latest", file: "bench/results/latest.md" },
      {
        text: "Benchmark over several servers",
        page: "bench/several-servers",
        file: "bench/results/several-servers.md",
      },
      { text: "How it is measured", page: "bench/how", file: "bench/README.md" },
    ],
  },
  {
    text: "Project",
    items: [
      { text: "Changes", page: "changes", file: "CHANGELOG.md" },
      { text: "Contributing", page: "contributing", file: "CONTRIBUTING.md" },
      { text: "Security", page: "security", file: "SECURITY.md" },
    ],
  },
];

/** The entries of the package that users import, as TypeDoc calls their modules. */
export const ENTRIES = new Map([
  ["index", "holdfast"],
  ["fence", "holdfast/fence"],
  ["otel", "holdfast/otel"],
  ["dashboard", "holdfast/dashboard"],
  ["nestjs", "holdfast/nestjs"],
  ["nestjs/terminus", "holdfast/nestjs/terminus"],
  ["fastify", "holdfast/fastify"],
  ["node-cron", "holdfast/node-cron"],
  ["testing", "holdfast/testing"],
  ["redlock", "holdfast/redlock"],
  ["redlock4", "holdfast/redlock4"],
  ["redis-semaphore", "holdfast/redis-semaphore"],
]);

export const SECTIONS = ALL.map(({ text, items }) => ({
  text,
  items: items.filter(({ file }) => existsSync(new URL(`../${file}`, import.meta.url))),
}));
