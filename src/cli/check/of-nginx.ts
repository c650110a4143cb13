/** The NGINX program of this host. Whether NGINX runs and leads to a gateway is tried by `way-through.ts`. */
import { findNginx } from '../commands/nginx.ts'
import type { Finding } from './finding.ts'

export function ofNginx(program: string): Finding[] {
  const category = 'nginx'
  const found = findNginx(program)
  if (found === undefined) {
    return [
      {
        category,
        level: 'warning',
        text: `${program} is not on this host`,
        hint: 'apt-get install nginx libnginx-mod-stream',
      },
    ]
  }
  if (found.stream === 'absent') {
    return [
      {
        category,
        level: 'failure',
        text: `nginx ${found.version} has no stream module`,
        hint: 'apt-get install libnginx-mod-stream',
      },
    ]
  }
  return [{ category, level: 'ok', text: `nginx ${found.version} with the stream module` }]
}
