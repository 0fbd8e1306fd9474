// oidc-provider with a small API behind it, which asks the provider about each token that it is shown.
//
//   node server.mjs NODE_MODULES PORT
//
// Access tokens are opaque and live for five seconds; a refresh token is accepted once, and used twice it ends the whole grant.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { setTimeout as wait } from "node:timers/promises";

const [modules, port] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const express = require("express");
const { Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));

const here = `http://127.0.0.1:${port}`;
const secrets = { machine: "machine+secret/%20", person: "person-secret", api: "api-secret" };
const client = (client_id, more) => ({ client_id, client_secret: secrets[client_id], redirect_uris: [], response_types: [], grant_types: [], ...more });
const provider = new Provider(here, {
  clients: [
    client("machine", { grant_types: ["client_credentials"] }),
    client("person", {
      application_type: "native",
      redirect_uris: ["http://127.0.0.1:1/done"],
      response_types: ["code"],
      grant_types: ["authorization_code", "refresh_token"],
    }),
    client("api"),
  ],
  scopes: ["openid", "offline_access", "orders"],
  features: { clientCredentials: { enabled: true }, introspection: { enabled: true } },
  pkce: { required: () => false },
  rotateRefreshToken: true,
  clockTolerance: 0,
  ttl: { AccessToken: 5, ClientCredentials: 5, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600, IdToken: 600 },
});

provider.on("grant.error", (_, error) => console.log("refused:", error.error, error.error_detail));

const basic = `Basic ${btoa(`api:${secrets.api}`)}`;
const look = (token) =>
  fetch(`${here}/token/introspection`, { method: "POST", headers: { authorization: basic }, body: new URLSearchParams({ token }) });

const app = express();
app.use((request, response, next) => {
  response.on("finish", () => console.log(request.method, request.originalUrl, response.statusCode));
  next();
});

// The API: orders by the time they were changed, in pages that take their time.
const orders = new Map();
let pages = 0;
app.get("/api/orders", async (request, response) => {
  const token = (request.headers.authorization ?? "").replace(/^Bearer /, "");
  const known = await (await look(token)).json();
  if (!known.active) return response.status(401).set("WWW-Authenticate", 'Bearer error="invalid_token"').json({ error: "invalid_token" });
  await wait(400);
  const { since, until, after = "0" } = request.query;
  const found = [...orders.values()].filter((one) => one.changed >= since && one.changed < until && one.id > Number(after));
  const items = found.sort((a, b) => a.id - b.id).slice(0, 100);
  response.json({ items, next: found.length > 100 ? items.at(-1).id : null });
  // Now and then the provider loses a token long before its end. (To revoke it would end the person's grant as well.)
  if (++pages % 9 === 4) await ((await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token)))?.destroy();
});

// The desk at which orders are taken; behind no lock.
app.get("/desk/orders", (_, response) => response.json([...orders.values()]));
app.put("/desk/orders", express.json({ limit: "10mb" }), (request, response) => {
  for (const one of request.body) orders.set(one.id, one);
  response.json(orders.size);
});
app.use(provider.callback());
app.listen(Number(port), "127.0.0.1");
