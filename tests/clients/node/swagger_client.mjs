// Calls the operation through swagger-client and prints the outcome, as tests/clients/calls.py says.
import SwaggerClient from "swagger-client";

const [document, accessKey, userJwt, token] = process.argv.slice(2);
const client = await SwaggerClient(document, { authorizations: { user_jwt: `Bearer ${userJwt}` } });

async function save() {
  try {
    const answer = await client.apis.Users.post_stripe_info({
      access_key: accessKey,
      stripe_info: { coord_targeted_token: token },
    });
    return { status: answer.status, kind: answer.body.constructor.name, members: answer.body };
  } catch (error) {
    return { status: error.status, kind: error.constructor.name, members: error.response.body };
  }
}

console.log(JSON.stringify(await save()));
