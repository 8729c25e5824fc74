// Calls the operation through openapi-fetch and prints the outcome, as tests/clients/calls.py says.
// That it compiles shows that the contract as OpenAPI 3 has these types.
import createClient from "openapi-fetch";
import type { components, paths } from "./types.js";

declare const process: { argv: [string, string, string, string, string, string] };

const [, , document, accessKey, userJwt, token] = process.argv;
const client = createClient<paths>({
  baseUrl: document.replace("/swagger.json", ""),
  headers: { Authorization: `Bearer ${userJwt}` },
});
const { data, error, response } = await client.POST("/user/current/stripe_info", {
  params: { query: { access_key: accessKey } },
  body: { coord_targeted_token: token },
});

if (data) {
  const customerId: string = data.customer_id;
  const members = { coord_targeted_token: data.coord_targeted_token, customer_id: customerId };
  console.log(JSON.stringify({ status: response.status, kind: "data", members }));
} else {
  const members: components["schemas"]["Problem"] = error;
  console.log(JSON.stringify({ status: response.status, kind: "error", members }));
}
