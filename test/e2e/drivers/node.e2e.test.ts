/** Node.js `cassandra-driver`: protocol v4, its highest; it has no LZ4. */
import { driverSuite } from './drive.ts'

driverSuite('node', [
  { door: 'nginx', protocol: 4, compression: 'none', as: 'owner' },
  { door: 'sidecar', protocol: 4, compression: 'none', as: 'admin' },
])
