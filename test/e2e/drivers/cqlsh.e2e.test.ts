/** `cqlsh` from PyPI: protocol v5. */
import { driverSuite } from './drive.ts'

driverSuite('cqlsh', [
  { door: 'nginx', protocol: 5, compression: 'none', as: 'admin' },
  { door: 'sidecar', protocol: 5, compression: 'none', as: 'admin' },
])
