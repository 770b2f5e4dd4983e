// The extension's sources, with types; as strict as the pages' own scripts.
import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["lib/**", "labextension/**", "node_modules/**"] },
  js.configs.recommended,
  {
    files: ["src/**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      eqeqeq: "error",
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Text from outside goes into textContent." },
        { property: "outerHTML", message: "Text from outside goes into textContent." },
        { property: "insertAdjacentHTML", message: "Text from outside goes into textContent." },
      ],
      "@typescript-eslint/unbound-method": "off", // signals take a method and its object
      "@typescript-eslint/no-unused-vars": ["error", { ignoreRestSiblings: true }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
    },
  },
  { files: ["*.cjs"], languageOptions: { sourceType: "commonjs" } },
  {
    files: ["test/**/*.mjs", "*.js", "*.mjs"],
    languageOptions: { globals: { URL: "readonly", console: "readonly", process: "readonly", Buffer: "readonly" } },
  },
);
