// tus-js-client in node: sends a file resumably and tells the upload's URL.
// UMUSIC_TOKEN=… node upload.cjs MODULE ENDPOINT FILE
const fs = require("node:fs");
const path = require("node:path");

const [module_, endpoint, file] = process.argv.slice(2);
const tus = require(module_);

const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  headers: { Authorization: `Bearer ${process.env.UMUSIC_TOKEN}` },
  metadata: { filename: path.basename(file) },
  retryDelays: [0, 100, 300, ...Array(60).fill(1000)],
  onError(error) {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess() {
    console.log(upload.url);
    process.exit(0);
  },
});
upload.start();
