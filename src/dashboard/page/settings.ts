/** What the dashboard was made with, as its document says it. */
export const title: string = document.title;
export const isReadOnly: boolean = document.documentElement.dataset["readOnly"] === "true";
