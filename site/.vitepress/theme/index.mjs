import DefaultTheme from "vitepress/theme";
import QueueDiagram from "./QueueDiagram.vue";
import "./site.css";

export default {
  extends: DefaultTheme,
  enhanceApp({ app }) {
    app.component("QueueDiagram", QueueDiagram);
  },
};
