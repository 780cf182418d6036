// An OpenID Connect provider (npm oidc-provider) for tests: free port, users by name, keys that can be rotated.
// Writes its issuer to stdout as a JSON line once it listens. argv: redirect URI, client secret.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [redirect, secret] = process.argv.slice(2);

const GROUPS = { ada: ['platform'], bob: ['oncall'], eve: ['marketing'] };

function key() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(6).toString('hex'), use: 'sig', alg: 'RS256' };
}

function provider(issuer) {
  return new Provider(issuer, {
    clients: [{
      client_id: 'flexgate', client_secret: secret, redirect_uris: [redirect], grant_types: ['authorization_code'],
    }],
    jwks: { keys: [key()] },
    cookies: { keys: ['a test'] },
    claims: { openid: ['sub', 'groups'], profile: ['preferred_username'], email: ['email'] },
    conformIdTokenClaims: false, // claims in the ID token itself, as Keycloak, Entra and Okta put them
    pkce: { required: () => true },
    findAccount: (_ctx, sub) => ({
      accountId: sub,
      claims: () => ({ sub, preferred_username: sub, email: `${sub}@example.com`, groups: GROUPS[sub] ?? [] }),
    }),
  });
}

// The same address with another provider behind it is a provider that has rotated its keys and forgotten its sessions.
const server = createServer((request, response) => {
  if (request.url === '/test/rotate') {
    current = provider(issuer).callback();
    response.end('{}');
    return;
  }
  current(request, response);
});
let current;
let issuer;
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  current = provider(issuer).callback();
  console.log(JSON.stringify({ issuer }));
});
