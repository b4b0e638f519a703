// What is linted: typescript-eslint's strictest rules with types, on sources and tests alike.

import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist/", "node_modules/"] },
  {
    files: ["src/**/*.ts", "test/**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // A number of a format, such as a wire type, is compared with an enum's on purpose.
      "@typescript-eslint/no-unsafe-enum-comparison": "off",
    },
  },
);
