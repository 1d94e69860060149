// HTTPS with Java's own TLS: `Talk VERSION PLAN`; plans as in talk.py.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;

public class Talk {
    public static void main(String[] arguments) throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {new Everyone()}, null);
        HttpClient.Version version = arguments[0].equals("2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
        HttpClient client = HttpClient.newBuilder().sslContext(context).version(version).build();
        for (String line : Files.readAllLines(Path.of(arguments[1]))) {
            String[] words = line.split(" ");
            HttpRequest.BodyPublisher body =
                words.length > 2 ? BodyPublishers.ofFile(Path.of(words[2])) : BodyPublishers.noBody();
            HttpRequest request = HttpRequest.newBuilder(URI.create(words[1])).method(words[0], body).build();
            HttpResponse<byte[]> answer = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
            // nginx creates no file for an empty body without a length.
            boolean empty = words.length > 2 && Files.size(Path.of(words[2])) == 0;
            if (answer.statusCode() >= 300 && !empty || answer.version() != version) {
                throw new IllegalStateException(line + ": " + answer);
            }
        }
    }

    /** Trusts any certificate: the test's is self-signed. */
    static class Everyone extends X509ExtendedTrustManager {
        public void checkClientTrusted(X509Certificate[] chain, String kind) {}
        public void checkServerTrusted(X509Certificate[] chain, String kind) {}
        public void checkClientTrusted(X509Certificate[] chain, String kind, java.net.Socket socket) {}
        public void checkServerTrusted(X509Certificate[] chain, String kind, java.net.Socket socket) {}
        public void checkClientTrusted(X509Certificate[] chain, String kind, javax.net.ssl.SSLEngine engine) {}
        public void checkServerTrusted(X509Certificate[] chain, String kind, javax.net.ssl.SSLEngine engine) {}
        public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
    }
}
