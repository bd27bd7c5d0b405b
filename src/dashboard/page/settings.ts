/** The dashboard's settings, as its document contains them. */
export const title: string = document.title;
export const isReadOnly: boolean = document.documentElement.dataset["readOnly"] === "true";
