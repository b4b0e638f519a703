import io.opentelemetry.sdk.common.Clock;
import java.util.LinkedHashMap;
import java.util.Map;

/** One line of the plan, and a clock that the program advances instead of sleeping. */
final class Run implements Clock {
    final String number;
    final String resource;

    /** Stage to operation to seconds, in the plan's order. */
    final Map<String, Map<String, Double>> stages = new LinkedHashMap<>();

    private long now;

    Run(String line) {
        String[] parts = line.split("\t");
        now = Long.parseLong(parts[0]) * 1_000_000_000L;
        number = parts[1];
        resource = parts[2];
        for (String pair : parts[3].split(";")) {
            String[] named = pair.split("[/=]");
            stages.computeIfAbsent(named[0], stage -> new LinkedHashMap<>()).put(named[1], Double.valueOf(named[2]));
        }
    }

    void sleep(double seconds) {
        now += Math.round(seconds * 1e9);
    }

    @Override
    public long now() {
        return now;
    }

    @Override
    public long nanoTime() {
        return now;
    }
}
