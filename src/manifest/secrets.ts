/** Shapes of credentials that must not be committed: Hop3's own list (schema.py, "committed-credential tripwire"). */
const prefixes = [
  'sk_live_',
  'sk_test_',
  'rk_live_',
  'ghp_',
  'gho_',
  'github_pat_',
  'xoxb-',
  'xoxp-',
  'AKIA',
  'ASIA',
];
const credentialsInUrl = /^[a-zA-Z][a-zA-Z0-9+.-]*:\/\/[^/:@\s]*:[^/@\s]+@/;
const secretInQuery = /[?&](token|password|secret|api_key)=/i;

/** Why a value looks like a committed secret, or null. A backstop for known shapes, not a proof. */
export function secretReason(value: string): string | null {
  if (prefixes.some(prefix => value.startsWith(prefix))) return 'it begins like a known kind of API key';
  if (credentialsInUrl.test(value)) return 'it is an address with a password in it';
  return null;
}

/** For addresses, where a query can carry one too. */
export function secretInAddress(address: string): boolean {
  return credentialsInUrl.test(address) || secretInQuery.test(address);
}
