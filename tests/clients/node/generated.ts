// Calls the operation through a generated client and prints the outcome, as tests/clients/calls.py
// says. That it compiles shows that the client has these types.
import {
  Configuration,
  ProblemFromJSON,
  ResponseError,
  UsersApi,
  instanceOfProblem,
  instanceOfSavedStripeInfo,
} from "./client/index.js";
import type { Problem, SavedStripeInfo } from "./client/index.js";

declare const process: { argv: [string, string, string, string, string, string] };

interface Outcome {
  status: number;
  kind: string;
  members: Record<string, string | number | undefined>;
}

const [, , document, accessKey, userJwt, token] = process.argv;
const users = new UsersApi(
  new Configuration({
    basePath: document.replace("/swagger.json", ""),
    apiKey: `Bearer ${userJwt}`,
  }),
);

async function save(): Promise<Outcome> {
  try {
    const answer = await users.postStripeInfoRaw({
      accessKey,
      stripeInfo: { coordTargetedToken: token },
    });
    const saved: SavedStripeInfo = await answer.value();
    const customerId: string = saved.customerId;
    return {
      status: answer.raw.status,
      kind: instanceOfSavedStripeInfo(saved) ? "SavedStripeInfo" : "another",
      members: { coord_targeted_token: saved.coordTargetedToken, customer_id: customerId },
    };
  } catch (error) {
    if (!(error instanceof ResponseError)) throw error;
    const problem: Problem = ProblemFromJSON(await error.response.json());
    const kind = instanceOfProblem(problem) ? "Problem" : "another";
    return {
      status: error.response.status,
      kind: `${error.name} with ${kind}`,
      members: {
        type: problem.type,
        title: problem.title,
        status: problem.status,
        detail: problem.detail,
        code: problem.code,
        request_id: problem.requestId,
        decline_code: problem.declineCode,
      },
    };
  }
}

console.log(JSON.stringify(await save()));
