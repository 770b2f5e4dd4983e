// The pages' own scripts: ES modules without a build step, checked as a browser and node --test see them.
import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: [".demo/**", ".testbed/**", "node_modules/**", "extensions/lab/**",
    "extensions/factorygate/widgets/static/pages/**"] }, // links to the pages' own
  js.configs.recommended,
  {
    files: ["hub_config/static/**/*.js", "extensions/factorygate/widgets/static/*.js"],
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: globals.browser },
    rules: {
      eqeqeq: "error",
      "no-var": "error",
      "prefer-const": "error",
      "no-implied-eval": "error",
      "no-eval": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Text from outside goes into textContent." },
        { property: "outerHTML", message: "Text from outside goes into textContent." },
        { property: "insertAdjacentHTML", message: "Text from outside goes into textContent." },
      ],
    },
  },
  {
    files: ["hub_config/proxy/*.cjs"],
    languageOptions: { ecmaVersion: 2022, sourceType: "commonjs", globals: globals.node },
  },
  {
    files: ["tests/**/*.js", "tests/**/*.mjs", "eslint.config.js"],
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: { ...globals.node, ...globals.browser } },
  },
];
