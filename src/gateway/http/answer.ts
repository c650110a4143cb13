/** What NGINX, or a browser through it, is answered. */
import type { ServerResponse } from 'node:http'

/** What is answered; the body is for people who look. */
export interface Answer {
  readonly status: number
  readonly headers?: Record<string, string | readonly string[]>
  readonly words?: string
}

/** 401: log in; 403: that is of no use. NGINX knows these two only. */
export function refused(status: 401 | 403, words: string): Answer {
  return status === 403
    ? { status, headers: { connection: 'close' }, words }
    : { status, headers: { 'www-authenticate': 'Bearer realm="ringfence"' }, words }
}

export function redirect(location: string, cookies: readonly string[]): Answer {
  return { status: 302, headers: { location, 'set-cookie': cookies } }
}

/** `__Host-`: of this host only, over TLS only. An empty one goes. */
export function cookie(name: string, value: string, ms: number): string {
  return `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=${Math.floor(ms / 1000)}`
}

export function send(response: ServerResponse, { status, headers = {}, words }: Answer): void {
  response.writeHead(status, {
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    ...(words === undefined ? {} : { 'content-type': 'text/plain; charset=utf-8' }),
    ...(headers as Record<string, string | string[]>),
  })
  response.end(words === undefined ? undefined : `${words}\n`)
}
