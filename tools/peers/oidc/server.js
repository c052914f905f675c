// A real OpenID provider for tests of signing in: npm's oidc-provider with a login form of its own.
// Usage: node server.js CONFIGURATION.json, which holds port, jwks, clients and accounts. It ends
// when its standard input does, so that it never outlives whoever started it.
//
// PUT /control/accounts replaces the accounts, as an administrator of a provider would change
// groups; PUT /control/login says how the next logins are reported (acr, amr, when).
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const given = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `http://127.0.0.1:${given.port}`;
let accounts = given.accounts;
let reported = {};

const provider = new Provider(issuer, {
  clients: given.clients,
  jwks: given.jwks,
  cookies: { keys: ['only for tests'] },
  claims: {
    openid: ['sub', 'amr'],
    email: ['email', 'email_verified'],
    profile: ['name', 'preferred_username', 'zoneinfo'],
    groups: ['groups'],
    acr: null,
    auth_time: null,
  },
  scopes: ['openid', 'email', 'profile', 'groups'],
  acrValues: ['phr', 'pwd'],
  conformIdTokenClaims: !given.claimsInIdToken,
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  // The provider's own guard refuses addresses of this machine, and tests have no others.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  async findAccount(_ctx, id) {
    const claims = accounts[id];
    return claims && { accountId: id, claims: async () => ({ sub: id, ...claims }) };
  },
  async loadExistingGrant(ctx) {
    const { client, session } = ctx.oidc;
    const known = session.grantIdFor(client.clientId);
    const grant = known
      ? await provider.Grant.find(known)
      : new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope('openid email profile groups');
    await grant.save();
    return grant;
  },
});
provider.on('server_error', (_ctx, error) => console.error(error));
provider.on('backchannel.error', (_ctx, error) => console.error('back channel:', error.message));

const page = (uid, told) => `<!doctype html><html lang="en"><title>Login</title>
<h1>Test provider</h1><p>${told}</p>
<form method="post" action="/interaction/${uid}">
<label>Login <input name="login" autofocus></label>
<button name="do" value="login">Log in</button> <button name="do" value="cancel">Cancel</button>
</form>`;

async function read(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

async function interact(request, response) {
  const { uid } = await provider.interactionDetails(request, response);
  const html = (told) => response
    .setHeader('Content-Type', 'text/html; charset=utf-8').end(page(uid, told));
  if (request.method === 'GET') return html('Who are you?');
  const fields = new URLSearchParams(await read(request));
  if (fields.get('do') === 'cancel') {
    return provider.interactionFinished(request, response, { error: 'access_denied' });
  }
  const accountId = fields.get('login');
  if (!accounts[accountId]) return html('There is no such account.');
  return provider.interactionFinished(request, response, { login: { accountId, ...reported } });
}

const handle = provider.callback();
const server = createServer(async (request, response) => {
  try {
    if (request.url === '/control/accounts') accounts = JSON.parse(await read(request));
    else if (request.url === '/control/login') reported = JSON.parse(await read(request));
    else if (request.url.startsWith('/interaction/')) return await interact(request, response);
    else return handle(request, response);
    return response.end('{}');
  } catch (error) {
    console.error(error);
    response.statusCode = 500;
    return response.end(String(error));
  }
});
server.listen(given.port, '127.0.0.1');
process.stdin.on('end', () => process.exit(0)).resume();
