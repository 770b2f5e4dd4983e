// The scripts of pages and widgets, and of tests; extensions/lab has its own configuration.
import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: [".demo/**", ".testbed/**", "node_modules/**", "extensions/lab/**", "site/**",
    "extensions/factorygate/widgets/built/**", "spawners/factoryspawner/built/**"] }, // built from extensions/frontend
  js.configs.recommended,
  {
    files: ["extensions/frontend/**/*.js"],
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
    files: ["tests/**/*.js", "tests/**/*.mjs", "extensions/frontend/build.mjs", "eslint.config.js"],
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: { ...globals.node, ...globals.browser } },
  },
];
