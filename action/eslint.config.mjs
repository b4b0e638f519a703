// ESLint configuration: typescript-eslint's strictest type-checked rules, for sources and tests.

import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist/", "node_modules/"] },
  {
    files: ["src/**/*.ts", "test/**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // Numbers of a format, such as wire types, are compared with enum values on purpose.
      "@typescript-eslint/no-unsafe-enum-comparison": "off",
    },
  },
);
