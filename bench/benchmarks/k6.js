import http from "k6/http";

export const options = {
  discardResponseBodies: true,
  scenarios: {
    load: {
      executor: "constant-arrival-rate",
      rate: Number(__ENV.RATE),
      timeUnit: "1s",
      duration: `${__ENV.DURATION_S}s`,
      preAllocatedVUs: 20, // far more than needed: too few would hide latency
      maxVUs: 200,
    },
  },
};

export default function () {
  http.get(__ENV.URL);
}
