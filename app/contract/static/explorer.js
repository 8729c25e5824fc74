"use strict";

const place = document.getElementById("explorer");
const prefilled = JSON.parse(place.dataset.prefilled);
const isDark = window.matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.classList.toggle("dark-mode", isDark);
// The contract's first operation is open when the page is; the others are folded.
let first = null;

// Markdown within HTML needs empty lines around it.
function folded(summary, text) {
  return text && `<details><summary>${summary}</summary>\n\n${text}\n\n</details>`;
}

// Swagger UI gets a copy of the contract that suits it; what is promised stays as it is.
function forReading(contract) {
  const [type] = contract.produces;
  const shownTags = new Set();
  for (const operations of Object.values(contract.paths)) {
    for (const operation of Object.values(operations)) {
      // It would show the operation once for each tag, and the same text twice.
      operation.tags?.splice(1);
      shownTags.add(operation.tags?.[0]);
      first ??= ["operations", operation.tags?.[0] ?? "default", operation.operationId];
      if (operation.description === contract.info.description) {
        delete operation.description;
      }
      for (const response of Object.values(operation.responses ?? {})) {
        for (const code of Object.keys(response["x-problems"] ?? {})) {
          const link = `[\`${code}\`](${place.dataset.problems}${code})`;
          response.description = response.description.replace(`\`${code}\``, link);
        }
        // It looks for examples under the type of the answers that succeed.
        const example = response.examples?.["application/problem+json"];
        if (example) {
          response.examples[type] = example;
        }
      }
    }
  }
  contract.tags = contract.tags?.filter((tag) => shownTags.has(tag.name));
  // It is longer than a screen, and stands above the first button.
  contract.info.description = folded(
    "How to make a token, and what it is for",
    contract.info.description,
  );
  return contract;
}

const ui = SwaggerUIBundle({
  domNode: place,
  url: place.dataset.url,
  validatorUrl: null,
  deepLinking: true,
  docExpansion: "list",
  // Examples and models fold: each is one click away, and the body's is open where it is typed in.
  defaultModelRendering: "model",
  defaultModelExpandDepth: 0,
  tryItOutEnabled: false,
  // In the sandbox nothing is kept: the next sandbox at this address has other credentials.
  persistAuthorization: Object.keys(prefilled).length === 0,
  plugins: [
    {
      statePlugins: {
        spec: {
          wrapActions: {
            updateJsonSpec: (original) => (contract) => original(forReading(contract)),
          },
        },
      },
    },
  ],
  onComplete() {
    ui.layoutActions.show(first, true);
    for (const [scheme, value] of Object.entries(prefilled)) {
      ui.preauthorizeApiKey(scheme, value);
    }
  },
  requestInterceptor(request) {
    // People paste the JWT as they got it; Swagger 2.0 cannot say that it follows "Bearer".
    const given = request.headers.Authorization;
    if (given && !given.includes(" ")) {
      request.headers.Authorization = `Bearer ${given}`;
    }
    return request;
  },
});
